"""Second-order filters (Robert Bristow-Johnson's cookbook), applied one after the other by SciPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Biquad(NamedTuple):
    """b and a of one section; a[0] is not necessarily 1."""

    b: tuple[float, float, float]
    a: tuple[float, float, float]


def low_pass(cutoff_hz: float, quality: float, sample_rate: int) -> Biquad:
    cosine, alpha = _angle(cutoff_hz, quality, sample_rate)
    edge = (1 - cosine) / 2
    return Biquad((edge, 1 - cosine, edge), (1 + alpha, -2 * cosine, 1 - alpha))


def high_pass(cutoff_hz: float, quality: float, sample_rate: int) -> Biquad:
    cosine, alpha = _angle(cutoff_hz, quality, sample_rate)
    edge = (1 + cosine) / 2
    return Biquad((edge, -(1 + cosine), edge), (1 + alpha, -2 * cosine, 1 - alpha))


def peak(centre_hz: float, quality: float, gain_db: float, sample_rate: int) -> Biquad:
    cosine, alpha = _angle(centre_hz, quality, sample_rate)
    root = 10 ** (gain_db / 40)
    return Biquad(
        (1 + alpha * root, -2 * cosine, 1 - alpha * root),
        (1 + alpha / root, -2 * cosine, 1 - alpha / root),
    )


def low_shelf(corner_hz: float, quality: float, gain_db: float, sample_rate: int) -> Biquad:
    return _shelf(corner_hz, quality, gain_db, sample_rate, side=1.0)


def high_shelf(corner_hz: float, quality: float, gain_db: float, sample_rate: int) -> Biquad:
    return _shelf(corner_hz, quality, gain_db, sample_rate, side=-1.0)


def apply_biquads(samples: np.ndarray, sections: tuple[Biquad, ...]) -> np.ndarray:
    """All sections one after the other on (channel, sample) float32; the same shape comes back."""
    if not sections or samples.shape[-1] == 0:
        return samples
    from scipy.signal import sosfilt

    table = np.array([(*section.b, *section.a) for section in sections])
    # In float64, or rounding builds up in the feedback of filters far below the rate.
    return np.asarray(sosfilt(table / table[:, 3:4], samples)).astype(np.float32)


def _angle(frequency_hz: float, quality: float, sample_rate: int) -> tuple[float, float]:
    omega = 2 * np.pi * min(frequency_hz, 0.49 * sample_rate) / sample_rate
    return float(np.cos(omega)), float(np.sin(omega) / (2 * quality))


def _shelf(corner_hz: float, quality: float, gain_db: float, sample_rate: int, side: float) -> Biquad:
    """The high shelf is the low one with the sign of the cosine turned round."""
    cosine, alpha = _angle(corner_hz, quality, sample_rate)
    root = 10 ** (gain_db / 40)
    slope, up, down, turned = 2 * np.sqrt(root) * alpha, root + 1, root - 1, side * cosine
    b = (
        root * (up - down * turned + slope),
        side * 2 * root * (down - up * turned),
        root * (up - down * turned - slope),
    )
    a = (up + down * turned + slope, -side * 2 * (down + up * turned), up + down * turned - slope)
    return Biquad((float(b[0]), float(b[1]), float(b[2])), (float(a[0]), float(a[1]), float(a[2])))
