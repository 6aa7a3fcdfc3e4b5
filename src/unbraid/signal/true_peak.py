"""The peak that a signal has between its samples, after ITU-R BS.1770-4, Annex 2: measured four times as finely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch.nn import functional

from unbraid.axes import Float, Tensor

_TAPS = 12
"""Per phase, as the standard's own filter has."""
_FINE_RATE_HZ = 192_000
_STEP = 32
"""Samples that are looked between together: with fewer, fewer are looked at in vain, one product at a time."""
_LOOK_STEPS = 4096


class TruePeakMeter:
    """Takes (*axes, channel, sample) in blocks of any size, of which the loudest channel counts."""

    def __init__(self, axes: Sequence[int], sample_rate: int) -> None:
        """`axes` are those of the blocks but the last; the last of them is the channels."""
        factor = 4 if sample_rate < _FINE_RATE_HZ / 2 else 2 if sample_rate < _FINE_RATE_HZ else 1
        self._bank = _filters(factor) if factor > 1 else None
        self._axes = tuple(axes[:-1])
        self._history = torch.zeros(math.prod(self._axes), axes[-1], _TAPS - 1)
        self._peaks = torch.zeros(len(self._history))

    def push(self, block: Float[Tensor, "*axes channel sample"]) -> None:
        rows = block.float().reshape(len(self._history), *block.shape[-2:])
        joined = torch.cat([self._history, rows], dim=-1)
        self._history = joined[..., self._look_at(joined) :].clone()

    def finish(self) -> Float[Tensor, "*axes"]:
        """The largest magnitudes, of samples and of what lies between them, the ringing after the last one included;
        full scale is 1, and more may be pushed after it."""
        self._look_at(functional.pad(self._history, (0, _STEP + _TAPS - 1)))
        return self._peaks.reshape(self._axes)

    def _look_at(self, joined: Float[Tensor, "row channel sample"]) -> int:
        """Looks at whole steps whose filter has all its samples, and returns how many samples it is done with."""
        num_steps = max(0, joined.shape[-1] - _TAPS + 1) // _STEP
        if num_steps == 0:
            return 0
        done = num_steps * _STEP
        magnitudes = joined[..., : done + _STEP].abs()
        loudest = torch.cat(
            [magnitudes[..., :done].unflatten(-1, (-1, _STEP)).amax(-1), magnitudes[..., done:].amax(-1, keepdim=True)],
            dim=-1,
        )
        self._peaks = torch.maximum(self._peaks, loudest.amax((-2, -1)))
        if self._bank is None:
            return done
        # What is so low that the filter cannot lift it above the peak need not be looked at, which is most of a song.
        bank, lift = self._bank
        within = torch.maximum(loudest[..., :-1], loudest[..., 1:])
        steps = joined.unfold(-1, _STEP + _TAPS - 1, _STEP)
        for place in (within * lift > self._peaks[:, None, None]).nonzero().split(_LOOK_STEPS):
            between = (steps[place.unbind(-1)] @ bank).abs().amax(-1)
            self._peaks = self._peaks.scatter_reduce(0, place[:, 0], between, "amax")
        return done


@cache
def _filters(factor: int) -> tuple[Float[Tensor, "sample between"], float]:
    """From a step, and the samples beyond it that the taps reach, to what lies between; and what it lifts at most."""
    with torch.inference_mode(False):
        taps = _TAPS * factor
        at = (torch.arange(taps) - (taps - 1) / 2) / factor
        # ours: a windowed sinc; each phase gives a constant back.
        prototype = torch.sinc(at) * torch.kaiser_window(taps, periodic=False, beta=6.0)
        phases = prototype.unflatten(0, (_TAPS, factor)).flip(0)
        phases = phases / phases.sum(0)
        bank = torch.zeros(_STEP + _TAPS - 1, _STEP, factor)
        for sample in range(_STEP):
            bank[sample : sample + _TAPS, sample] = phases
        return bank.flatten(1), float(phases.abs().sum(0).max())
