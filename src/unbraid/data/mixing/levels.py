"""How loud things are and how loud they shall be: RMS, mean amplitude, and loudness after ITU-R BS.1770.

A level of silence is minus infinity, and no gain is ever applied to it: silence stays silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from unbraid.options import NonNegativeFloat, check_options, check_range
from unbraid.signal.loudness import loudness

Measure = Literal["as-recorded", "rms", "mean-amplitude", "lufs"]


@dataclass(frozen=True, kw_only=True)
class Level:
    """A level to draw."""

    mean_db: float = 0.0
    """dB relative to full scale, LUFS where `measure` is "lufs", a gain in dB where it is "as-recorded"."""

    spread_db: NonNegativeFloat = 0.0
    """Half the width of a uniform distribution, or the standard deviation of a normal one."""

    distribution: Literal["uniform", "normal"] = "uniform"

    limits_db: tuple[float, float] | None = None
    """What is drawn is clipped to this range."""

    measure: Measure = "rms"
    """What the level is of: RMS or mean absolute amplitude over all channels, or loudness; "as-recorded" leaves the
    recording's own level and only adds to it."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.limits_db is not None:
            check_range("limits_db", self.limits_db)

    def draw(self, generator: np.random.Generator) -> float:
        """One level in dB."""
        if self.distribution == "normal":
            level = generator.normal(self.mean_db, self.spread_db)
        else:
            level = generator.uniform(self.mean_db - self.spread_db, self.mean_db + self.spread_db)
        return float(level if self.limits_db is None else np.clip(level, *self.limits_db))


def to_level(samples: np.ndarray, level_db: float, measure: Measure, sample_rate: int) -> np.ndarray:
    """(channel, sample) at this level; "as-recorded" takes it as a gain."""
    present = 0.0 if measure == "as-recorded" else measure_db(samples, measure, sample_rate)
    if math.isinf(present):
        return samples
    return samples * np.float32(10 ** ((level_db - present) / 20))


def measure_db(samples: np.ndarray, measure: Measure, sample_rate: int) -> float:
    """Level of (channel, sample) in dB, -inf for silence."""
    if samples.size == 0:
        return -math.inf
    if measure == "lufs":
        return loudness_lufs(samples, sample_rate)
    if measure == "mean-amplitude":
        return _db(float(np.mean(np.abs(samples))))
    return _db(rms(samples))


def rms(samples: np.ndarray) -> float:
    """Root of the mean square over everything."""
    flat = samples.reshape(-1)
    # BLAS sums in several accumulators, which is quicker than np.mean(x**2) and, in float32, exact enough.
    return math.sqrt(float(np.dot(flat, flat)) / max(flat.size, 1))


def loudness_lufs(samples: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of (channel, sample) after ITU-R BS.1770-4; -inf for silence."""
    return float(loudness(torch.from_numpy(np.ascontiguousarray(samples)), sample_rate))


def _db(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
