"""The peak that a signal has between its samples, after ITU-R BS.1770-4, Annex 2: measured four times as finely."""

from __future__ import annotations

import torch
from torch.nn.functional import conv1d

from unbraid.axes import Float, Tensor

_TAPS = 12
"""Per phase, as the standard's own filter has."""
_FINE_RATE_HZ = 192_000
_LOOK_SAMPLES = 32_768


class TruePeakMeter:
    """Takes (channel, sample) in blocks of any size."""

    def __init__(self, num_channels: int, sample_rate: int) -> None:
        factor = 4 if sample_rate < _FINE_RATE_HZ / 2 else 2 if sample_rate < _FINE_RATE_HZ else 1
        self._is_fine = factor == 1
        taps = _TAPS * factor
        at = (torch.arange(taps) - (taps - 1) / 2) / factor
        # ours: a windowed sinc; each phase gives a constant back.
        prototype = torch.sinc(at) * torch.kaiser_window(taps, periodic=False, beta=6.0)
        phases = prototype.unflatten(0, (_TAPS, factor)).T
        self._phases = (phases / phases.sum(1, keepdim=True)).flip(1)[:, None]
        self._most = float(self._phases.abs().sum(-1).max())
        self._history = torch.zeros(num_channels, _TAPS - 1)
        self.peak = 0.0
        """The largest magnitude so far, samples and what lies between them; full scale is 1."""

    def push(self, block: Float[Tensor, "channel sample"]) -> None:
        if block.shape[-1] == 0:
            return
        joined = torch.cat([self._history, block.float()], -1)
        self._history = joined[:, -(_TAPS - 1) :].clone()
        self.peak = max(self.peak, float(block.abs().max()))
        self._look_between(joined)

    def finish(self) -> float:
        """The peak, the ringing after the last sample included."""
        self._look_between(torch.cat([self._history, torch.zeros_like(self._history)], -1))
        return self.peak

    def _look_between(self, joined: Tensor) -> None:
        if self._is_fine:
            return
        # What is so low that the filter cannot lift it above the peak need not be looked at, which is most of a song.
        for start in range(0, joined.shape[-1] - _TAPS + 1, _LOOK_SAMPLES):
            piece = joined[:, start : start + _LOOK_SAMPLES + _TAPS - 1]
            loud = piece[piece.abs().amax(-1) * self._most > self.peak]
            if len(loud):
                self.peak = max(self.peak, float(conv1d(loud[:, None], self._phases).abs().max()))
