"""Levels of a whole batch at once, on its device; `data/mixing/levels.py` is the same for one example on the CPU."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor
from unbraid.data.mixing.levels import Level, Measure
from unbraid.data.mixing.pools import SILENCE_DB
from unbraid.signal.loudness import loudness_by_transform

_LEAST = 1e-10
"""Of a mean square, so that the logarithm of silence is a number."""


def level_db(signal: Float[Tensor, "batch channel sample"], measure: Measure, sample_rate: int) -> Tensor:
    """(batch,): in dB, far below anything audible for silence."""
    if measure == "lufs":
        return loudness_by_transform(signal, sample_rate).nan_to_num(neginf=-200.0)
    if measure == "mean-amplitude":
        return 20 * signal.abs().mean(dim=(1, 2)).clamp(min=_LEAST).log10()
    return 10 * mean_square(signal).clamp(min=_LEAST).log10()


def mean_square(signal: Float[Tensor, "batch channel sample"]) -> Float[Tensor, " batch"]:
    return signal.square().mean(dim=(1, 2))


def is_silent(signal: Float[Tensor, "batch channel sample"]) -> Tensor:
    return mean_square(signal) < 10 ** (SILENCE_DB / 10)


def at_level(
    signal: Float[Tensor, "batch channel sample"], wanted_db: Tensor, measure: Measure, sample_rate: int
) -> Float[Tensor, "batch channel sample"]:
    """Each at its level, silence as it is; "as-recorded" takes the level as a gain."""
    change = wanted_db if measure == "as-recorded" else wanted_db - level_db(signal, measure, sample_rate)
    change = torch.where(is_silent(signal), torch.zeros((), device=signal.device), change)
    return signal * (10 ** (change / 20))[:, None, None]


def draw_level(level: Level, uniform: Float[Tensor, " batch"], normal: Float[Tensor, " batch"]) -> Tensor:
    """Levels in dB from numbers that are uniform from 0 to 1, or normal."""
    if level.distribution == "normal":
        drawn = level.mean_db + level.spread_db * normal
    else:
        drawn = level.mean_db + level.spread_db * (2 * uniform - 1)
    return drawn if level.limits_db is None else drawn.clamp(*level.limits_db)
