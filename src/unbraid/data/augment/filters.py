"""Augmentations that colour: random equalisers, and the loss of low or high frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.data.augment.base import Occasional
from unbraid.data.augment.biquads import Biquad, apply_biquads, high_pass, high_shelf, low_pass, low_shelf, peak
from unbraid.options import PositiveFloat, PositiveInt, Share, check_range


@dataclass(frozen=True, kw_only=True)
class Equaliser(Occasional):
    """A few bands turned up or down: the lowest and the highest may be shelves, the others are peaks."""

    kind: Literal["equaliser"] = "equaliser"

    num_bands: tuple[PositiveInt, PositiveInt] = (1, 4)
    """Fewest and most."""

    range_hz: tuple[PositiveFloat, PositiveFloat] = (60.0, 12_000.0)
    """Of their centres, uniform in octaves."""

    range_db: tuple[float, float] = (-6.0, 6.0)

    range_quality: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    """Of the peaks: centre over width."""

    shelf_probability: Share = 0.3
    """Of a band being a shelf, low below the middle of the range and high above it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("num_bands", self.num_bands)
        check_range("range_hz", self.range_hz, 20.0)
        check_range("range_db", self.range_db)
        check_range("range_quality", self.range_quality, 0.1)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        count = int(generator.integers(self.num_bands[0], self.num_bands[1] + 1))
        sections = tuple(self._draw_band(sample_rate, generator) for _ in range(count))
        return apply_biquads(samples, sections)

    def _draw_band(self, sample_rate: int, generator: np.random.Generator) -> Biquad:
        highest = min(self.range_hz[1], 0.45 * sample_rate)
        low, high = np.log(self.range_hz[0]), np.log(max(highest, self.range_hz[0]))
        position = generator.random()
        centre_hz = float(np.exp(low + position * (high - low)))
        gain_db, quality = float(generator.uniform(*self.range_db)), float(generator.uniform(*self.range_quality))
        if generator.random() < self.shelf_probability:
            shelf = low_shelf if position < 0.5 else high_shelf
            return shelf(centre_hz, 0.707, gain_db, sample_rate)
        return peak(centre_hz, quality, gain_db, sample_rate)


@dataclass(frozen=True, kw_only=True)
class LowPass(Occasional):
    """Dull, as from an old recording or a telephone: 12 or 24 dB less per octave above the cut-off."""

    kind: Literal["low-pass"] = "low-pass"

    range_hz: tuple[PositiveFloat, PositiveFloat] = (3000.0, 16_000.0)
    """Of the cut-off, uniform in octaves. Above 0.45 times the sample rate nothing is done."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_hz", self.range_hz, 20.0)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        cutoff_hz, order = _draw_cutoff(self.range_hz, generator)
        if cutoff_hz > 0.45 * sample_rate:
            return samples
        return apply_biquads(samples, (low_pass(cutoff_hz, 0.707, sample_rate),) * order)


@dataclass(frozen=True, kw_only=True)
class HighPass(Occasional):
    """Thin, as from a small loudspeaker or a low-cut switch: 12 or 24 dB less per octave below the cut-off."""

    kind: Literal["high-pass"] = "high-pass"

    range_hz: tuple[PositiveFloat, PositiveFloat] = (30.0, 300.0)
    """Of the cut-off, uniform in octaves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_hz", self.range_hz, 20.0)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        cutoff_hz, order = _draw_cutoff(self.range_hz, generator)
        return apply_biquads(samples, (high_pass(cutoff_hz, 0.707, sample_rate),) * order)


def _draw_cutoff(range_hz: tuple[float, float], generator: np.random.Generator) -> tuple[float, int]:
    """A frequency, and one section or two."""
    return float(np.exp(generator.uniform(*np.log(range_hz)))), int(generator.integers(1, 3))
