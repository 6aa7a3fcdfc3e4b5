"""One estimate from those of several models, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbraid.separation.compositions.syntax import Domain, How

_WINDOW_SECONDS = 0.046
"""ours: 2048 samples at 44.1 kHz, about what the models of music use themselves."""
_HOPS = 4
"""Per window: squares of Hann windows that far apart add up to a constant."""
_BAND_SHARE = 0.97
"""ours: a resampler lets through nothing certain above this share of half the rate."""


class Combiner:
    """Takes blocks (member, row, sample), all rows alike, and gives (row, sample) of the same length in all."""

    def __init__(
        self,
        how: How,
        domain: Domain,
        weights: Sequence[float],
        sample_rate: int,
        member_rates: Sequence[int],
    ) -> None:
        """Members that work at a lower rate than others say nothing above their band: there only the others count, in
        the spectrum."""
        self._how = how
        self._weights = np.asarray(weights, np.float64) / sum(weights)
        bands = [min(rate, sample_rate) for rate in member_rates]
        in_spectrum = domain == "spectrum" or len(set(bands)) > 1
        self._spectrum = _Spectrum(sample_rate, bands, self._join) if in_spectrum else None

    def push(self, block: np.ndarray) -> np.ndarray:
        """What is ready; in the spectrum it comes a window later."""
        if self._spectrum is not None:
            return self._spectrum.push(block)
        return self._join(block, np.ones((len(block), 1), bool)).astype(np.float32)

    def finish(self) -> np.ndarray | None:
        """The rest."""
        return None if self._spectrum is None else self._spectrum.finish()

    def _join(self, values: np.ndarray, speaks: np.ndarray) -> np.ndarray:
        """Over the first axis; `speaks` (member, last axis of values) says who has anything to say where."""
        if self._how == "mean":
            weights = self._weights[:, None] * speaks
            # Where nobody who counts has anything to say, everybody is asked.
            weights = np.where(weights.sum(axis=0) > 0, weights, self._weights[:, None])
            weights = weights / weights.sum(axis=0)
            return np.einsum("mrf,mf->rf", values, weights.astype(np.float32))
        loud = speaks[:, None, :]
        if self._how == "median":
            if speaks.all():
                return _median(values)
            masked = np.where(loud, values, np.nan)
            return np.nan_to_num(_median(masked))
        # By magnitude: of what exceeds the others in whatever direction.
        size = np.abs(values)
        size = np.where(loud, size, -1 if self._how == "max" else np.inf)
        chosen = size.argmax(axis=0) if self._how == "max" else size.argmin(axis=0)
        return np.take_along_axis(values, chosen[None], axis=0)[0]


def _median(values: np.ndarray) -> np.ndarray:
    """Of complex numbers, that of both parts apart."""
    middle = np.nanmedian if np.isnan(values).any() else np.median
    if np.iscomplexobj(values):
        return middle(np.real(values), axis=0) + 1j * middle(np.imag(values), axis=0)
    return middle(values, axis=0)


class _Spectrum:
    """Windows of all members through the transform, joined bin by bin, and added up again."""

    def __init__(self, sample_rate: int, bands: Sequence[int], join) -> None:
        self._size = max(64, 1 << round(np.log2(_WINDOW_SECONDS * sample_rate)))
        self._hop = self._size // _HOPS
        phase = np.arange(self._size) / self._size
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * phase)).astype(np.float32)
        frequencies = np.arange(self._size // 2 + 1) / self._size * sample_rate
        reach = np.array([np.inf if band == max(bands) else _BAND_SHARE * band / 2 for band in bands])
        self._speaks = frequencies[None] <= reach[:, None]
        self._join = join
        self._held: np.ndarray | None = None
        self._tail: np.ndarray | None = None
        self._skip = self._size - self._hop
        self._taken = self._given = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        self._taken += block.shape[-1]
        if self._held is None:
            self._held = np.zeros((*block.shape[:2], self._skip), np.float32)
        self._held = np.concatenate([self._held, block], axis=-1)
        count = (self._held.shape[-1] - self._size) // self._hop + 1
        if count < 1:
            return np.zeros((block.shape[1], 0), np.float32)
        pieces = [self._frame(index * self._hop) for index in range(count)]
        self._held = self._held[..., count * self._hop :].copy()
        return self._limited(np.concatenate(pieces, axis=-1))

    def finish(self) -> np.ndarray | None:
        if self._held is None:
            return None
        zeros = np.zeros((*self._held.shape[:2], self._size), np.float32)
        taken = self._taken
        rest = self.push(zeros)
        return rest[:, : max(0, rest.shape[1] - (self._given - taken))]

    def _frame(self, start: int) -> np.ndarray:
        """The next finished hop of samples."""
        assert self._held is not None
        spectra = np.fft.rfft(self._held[..., start : start + self._size] * self._window)
        joined = self._join(spectra, self._speaks)
        samples = np.fft.irfft(joined, n=self._size) * self._window * (8 / 3 / _HOPS)
        if self._tail is not None:
            samples[:, : self._tail.shape[1]] += self._tail
        self._tail = samples[:, self._hop :].copy()
        return samples[:, : self._hop].astype(np.float32)

    def _limited(self, samples: np.ndarray) -> np.ndarray:
        """Without the silence that was put in front."""
        dropped = min(self._skip, samples.shape[1])
        self._skip -= dropped
        samples = samples[:, dropped:]
        self._given += samples.shape[1]
        return samples
