"""Waveform and spectrogram of any stretch of a track, at the size in which it is drawn."""

from __future__ import annotations

from functools import cache

import numpy as np

from unbraid.signal.windows import hann

HEADROOM = 2.0
"""Full scale of a track, so that a stem 6 dB beyond that of a recording is seen and heard as it is."""

_WINDOW_SECONDS = 0.046
_LOWEST_HZ = 40.0
_RANGE_DB = 90.0
"""ours: from the strongest colour, a full-scale sine, down to none."""
_RUNS, _RUN_SAMPLES = 8, 2048
"""What is looked at of a column that is longer: an hour is drawn nearly as fast as a minute."""
_FRAMES_PER_COLUMN = 3


def quantise(samples: np.ndarray) -> np.ndarray:
    """Samples as a track has them: int16, in steps of `HEADROOM` / 32767."""
    return np.clip(np.rint(samples * np.float32(32_767 / HEADROOM)), -32_768, 32_767).astype("<i2")


def draw_waveform(track: np.ndarray, start: int, stop: int, columns: int) -> np.ndarray:
    """Lowest and highest value of every column, int8 (column, 2), of which 127 is full scale of the recording.

    `track` is int16 (sample, channel).
    """
    found = np.zeros((columns, 2), np.int8)
    edges = np.linspace(start, stop, columns + 1).round().astype(np.int64)
    for column in range(columns):
        first, last = edges[column], max(edges[column] + 1, edges[column + 1])
        if last - first > _RUNS * _RUN_SAMPLES:
            starts = np.linspace(first, last - _RUN_SAMPLES, _RUNS).astype(np.int64)
            pieces = [track[at : at + _RUN_SAMPLES] for at in starts]
        else:
            pieces = [track[first:last]]
        pieces = [piece for piece in pieces if piece.size]
        if pieces:
            ends = min(piece.min() for piece in pieces), max(piece.max() for piece in pieces)
            found[column] = np.clip(np.rint(np.array(ends) * (HEADROOM * 127 / 32_768)), -127, 127)
    return found


def draw_spectrogram(
    track: np.ndarray, sample_rate: int, start: int, stop: int, columns: int, bins: int, floor_db: float = -_RANGE_DB
) -> np.ndarray:
    """Level of every bin and column, uint8 (bin, column), the highest frequency first, from none to full scale.

    Bins are spaced evenly on a logarithmic scale up to half the rate; channels are drawn as their mean.
    """
    size = 1 << round(np.log2(_WINDOW_SECONDS * sample_rate))
    window = hann(size).numpy()
    frames_per_column = min(_FRAMES_PER_COLUMN, max(1, (stop - start) // (columns * size)))
    count = columns * frames_per_column
    centres = start + (stop - start) * (np.arange(count) + 0.5) / count
    frames = np.zeros((count, size), np.float32)
    for row, centre in enumerate(centres.astype(np.int64)):
        first = centre - size // 2
        piece = track[max(0, first) : max(0, first + size)].mean(axis=1, dtype=np.float32)
        at = max(0, -first)
        frames[row, at : at + len(piece)] = piece[: size - at]
    spectrum = np.abs(np.fft.rfft(frames * window)).astype(np.float32) * (2 * HEADROOM / (32_768 * window.sum()))
    spectrum = spectrum.reshape(columns, frames_per_column, -1).max(axis=1)
    levels_db = 20 * np.log10(np.maximum(_log_bins(spectrum, sample_rate, bins), 1e-7))
    return np.rint(np.clip(1 - levels_db / floor_db, 0, 1) * 255).astype(np.uint8).T[::-1]


def _log_bins(spectrum: np.ndarray, sample_rate: int, bins: int) -> np.ndarray:
    """(column, bin) on the logarithmic scale: the strongest line within each bin, or what lies between two lines."""
    low, high, between, share = _bin_places(spectrum.shape[1], sample_rate, bins)
    left, right = spectrum[:, between], spectrum[:, np.minimum(between + 1, spectrum.shape[1] - 1)]
    found = left + (right - left) * share
    for index in np.flatnonzero(high - low > 1):
        found[:, index] = spectrum[:, low[index] : high[index]].max(axis=1)
    return found


@cache
def _bin_places(lines: int, sample_rate: int, bins: int) -> tuple[np.ndarray, ...]:
    """Which lines of a spectrum fall into each bin, from the lowest up."""
    hz_per_line = sample_rate / 2 / (lines - 1)
    edges = np.geomspace(_LOWEST_HZ, sample_rate / 2, bins + 1) / hz_per_line
    low, high = np.ceil(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:]).astype(int), lines)
    middle = np.sqrt(edges[:-1] * edges[1:])
    between = np.minimum(middle.astype(int), lines - 1)
    return low, high, between, (middle - between).astype(np.float32)
