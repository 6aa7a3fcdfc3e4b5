"""Second-order filters (Robert Bristow-Johnson's cookbook), applied in the frequency domain.

Multiplying a spectrum by the product of all responses costs one transform there and back however many sections there
are, and needs neither a recursion in Python nor SciPy. The signal is padded, so that what rings on does not come round.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_TAIL_SECONDS = 0.25
"""By then a section of 60 Hz and quality 2 has decayed by more than 150 dB."""


_BLOCK_SAMPLES = 65_536
"""Transforms of this size stay in the processor's cache; one of the whole signal takes about twice as long."""


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


def apply_biquads(samples: np.ndarray, sections: tuple[Biquad, ...], sample_rate: int) -> np.ndarray:
    """All sections one after the other on (channel, sample) float32; the same shape comes back."""
    return apply_response(samples, lambda size: response(sections, size), sample_rate) if sections else samples


def apply_response(samples: np.ndarray, response_at: Callable[[int], np.ndarray], sample_rate: int) -> np.ndarray:
    """A filter on (channel, sample) float32, given its complex gains at the bins of a real transform of any size.

    The filter must have died away after a quarter of a second.
    """
    num_channels, num_samples = samples.shape
    if num_samples == 0:
        return samples
    tail = round(_TAIL_SECONDS * sample_rate)
    size = fast_size(min(num_samples + tail, max(_BLOCK_SAMPLES, 4 * tail)))
    # Overlap-save: each block begins with the `tail` samples before it, and what those give is thrown away.
    hop = size - tail
    num_blocks = -(-num_samples // hop)
    padded = np.zeros((num_channels, tail + num_blocks * hop), np.float32)
    padded[:, tail : tail + num_samples] = samples
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    spectra = np.fft.rfft(blocks, axis=-1)
    spectra *= response_at(size).astype(spectra.dtype)
    filtered = np.fft.irfft(spectra, size, axis=-1)[..., tail:]
    return filtered.reshape(num_channels, -1)[:, :num_samples].astype(np.float32, copy=False)


def response(sections: tuple[Biquad, ...], size: int) -> np.ndarray:
    """Complex gains of the sections together at the bins of a real transform of this size."""
    first, second = _delays(size)
    gains = np.ones(len(first), np.complex128)
    for b, a in sections:
        gains *= (b[0] + b[1] * first + b[2] * second) / (a[0] + a[1] * first + a[2] * second)
    return gains


@lru_cache(maxsize=4)
def _delays(size: int) -> tuple[np.ndarray, np.ndarray]:
    """What a delay by one sample and by two does to each bin."""
    first = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    return first, first * first


@lru_cache(maxsize=64)
def fast_size(least: int) -> int:
    """The smallest 2^a 3^b 5^c that is even and not below `least`: transforms of such sizes are quick."""
    best = 2 ** max(1, (least - 1).bit_length())
    power5 = 1
    while power5 < best:
        power35 = power5
        while power35 < best:
            rest = -(-least // power35)
            best = min(best, power35 * 2 ** max(1, (rest - 1).bit_length()))
            power35 *= 3
        power5 *= 5
    return best


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
