"""Augmentations of pitch, tempo and speed. What gets shorter is read longer before, so that no gap is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unbraid.data.augment.base import Occasional
from unbraid.errors import MissingExtraError
from unbraid.lazy import LazyModule
from unbraid.options import PositiveFloat, check_range
from unbraid.signal.lengths import fit_length

if TYPE_CHECKING:
    import soxr
else:
    soxr = LazyModule("soxr")


@dataclass(frozen=True, kw_only=True)
class Speed(Occasional):
    """Resampled: pitch, formants and tempo move together, as on a record player. Costs little."""

    kind: Literal["speed"] = "speed"

    range_factor: tuple[PositiveFloat, PositiveFloat] = (0.95, 1.05)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_factor", self.range_factor, 0.1)

    @property
    def stretch(self) -> float:
        return max(1.0, self.range_factor[1])

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        return fit_length(change_speed(samples, float(generator.uniform(*self.range_factor))), samples.shape[-1])


@dataclass(frozen=True, kw_only=True)
class PitchTempo(Occasional):
    """Pitch and tempo apart from each other, by Signalsmith Stretch (extra `augment`).

    The defaults are those that music recipes have come to use. It is the dearest augmentation but for the codecs.
    """

    kind: Literal["pitch-tempo"] = "pitch-tempo"

    range_semitones: tuple[float, float] = (-2.0, 2.0)

    range_tempo: tuple[PositiveFloat, PositiveFloat] = (0.88, 1.12)
    """Above 1 is faster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_semitones", self.range_semitones, -24.0)
        check_range("range_tempo", self.range_tempo, 0.25)

    @property
    def stretch(self) -> float:
        return max(1.0, self.range_tempo[1])

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        semitones, tempo = generator.uniform(*self.range_semitones), generator.uniform(*self.range_tempo)
        if not samples.any():
            return samples
        changed = change_pitch_and_tempo(samples, sample_rate, float(semitones), float(tempo))
        return fit_length(changed, samples.shape[-1])


def change_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """(channel, sample) played faster by this factor; shorter by it, and higher."""
    if speed == 1 or samples.shape[-1] == 0:
        return samples
    return np.ascontiguousarray(soxr.resample(np.ascontiguousarray(samples.T), speed * 1000, 1000, quality="LQ").T)


def change_pitch_and_tempo(samples: np.ndarray, sample_rate: int, semitones: float, tempo: float) -> np.ndarray:
    """(channel, sample) higher by so many semitones and played faster by a factor, which makes it shorter."""
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as error:
        raise MissingExtraError("python-stretch", "augment", "changing pitch and tempo") from error
    stretch = Stretch()
    stretch.preset(len(samples), float(sample_rate), cheaper=True)
    stretch.setTransposeSemitones(semitones)
    stretch.timeFactor = tempo
    return np.ascontiguousarray(stretch.process(np.ascontiguousarray(samples)), dtype=np.float32)
