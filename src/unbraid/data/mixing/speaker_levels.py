"""How loud the speakers of a mixture are, and the noise: one class for each way that is in use.

Each has `scale`, which takes what was drawn, as recorded, and gives it back at the levels drawn for it. Noise always
comes after the speakers, so that a mixture without noise is drawn the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unbraid.data.mixing.levels import Measure, measure_db, rms, to_level
from unbraid.options import NonNegativeFloat, PositiveFloat, check_options, check_range

MIXTURE_LEVEL_DB = -25.0
"""RMS level of a mixture in dB below full scale: that of ordinary speech recordings."""

Speech = tuple[np.ndarray, np.ndarray | None]
"""The speakers (source, channel, sample) and the noise (channel, sample), if there is any."""


@dataclass(frozen=True, kw_only=True)
class BalancedLevels:
    """ours: speakers about as loud as each other, the mixture as loud as ordinary recordings."""

    level_difference_db: NonNegativeFloat = 5.0
    """Relative levels are within plus and minus this."""

    gain_range_db: tuple[float, float] = (-10.0, 10.0)
    """Gain of the whole mixture about -25 dB below full scale."""

    noise_below_db: tuple[float, float] = (0.0, 15.0)
    """How far the noise lies below all speakers together."""

    def __post_init__(self) -> None:
        check_options(self)

    def scale(
        self, speakers: np.ndarray, noise: np.ndarray | None, sample_rate: int, generator: np.random.Generator
    ) -> Speech:
        levels = generator.uniform(-self.level_difference_db, self.level_difference_db, size=len(speakers)) / 2
        speakers = np.stack([to_level(s, level, "rms", sample_rate) for s, level in zip(speakers, levels, strict=True)])
        level = MIXTURE_LEVEL_DB + generator.uniform(*self.gain_range_db)
        speech = speakers.sum(axis=0)
        gain = 10 ** (level / 20) / max(rms(speech), 1e-6)
        if noise is not None:
            noise = to_level(noise, measure_db(speech, "rms", sample_rate), "rms", sample_rate)
            noise = noise * np.float32(gain * 10 ** (-generator.uniform(*self.noise_below_db) / 20))
        return speakers * np.float32(gain), noise


@dataclass(frozen=True, kw_only=True)
class ChainedLevels:
    """The first speaker's level is normal, the others' lie a normal distance from it.

    Pairs are mean and standard deviation in dB. The defaults are SpeechBrain's for WSJ0-2mix and -3mix; Asteroid's for
    WHAM! are first_db (-16.7, 7), others_db (-2.52, 4), noise_db (-5.1, 6.4).
    """

    first_db: tuple[float, float] = (-27.43, 2.57)

    others_db: tuple[float, float] = (-2.51, 2.66)
    """Relative to the first."""

    noise_db: tuple[float, float] | None = None
    """Relative to the first; None adds the noise as it was recorded."""

    limits_db: tuple[float, float] = (-45.0, 0.0)
    """Every level is clipped to this."""

    measure: Measure = "mean-amplitude"

    peak: PositiveFloat | None = 0.9
    """Mixture and sources are scaled together so that the largest sample of any of them is this."""

    def __post_init__(self) -> None:
        check_options(self)

    def scale(
        self, speakers: np.ndarray, noise: np.ndarray | None, sample_rate: int, generator: np.random.Generator
    ) -> Speech:
        first = generator.normal(*self.first_db)
        levels = [first, *(first + generator.normal(*self.others_db) for _ in speakers[1:])]
        speakers = np.stack(
            [
                to_level(speaker, float(np.clip(level, *self.limits_db)), self.measure, sample_rate)
                for speaker, level in zip(speakers, levels, strict=True)
            ]
        )
        if noise is not None and self.noise_db is not None:
            level = float(np.clip(first + generator.normal(*self.noise_db), *self.limits_db))
            noise = to_level(noise, level, self.measure, sample_rate)
        if self.peak is None:
            return speakers, noise
        return _rescaled(speakers, noise, self.peak / max(_peak(speakers, noise), 1e-8))


@dataclass(frozen=True, kw_only=True)
class LoudnessLevels:
    """Each speaker at a loudness of its own, as in LibriMix and SpeechBrain's dynamic mixing of it. Ranges in LUFS."""

    speech_lufs: tuple[float, float] = (-33.0, -25.0)

    noise_lufs: tuple[float, float] = (-38.0, -30.0)

    peak: PositiveFloat = 0.9
    """A source that would clip is scaled to this, and all of a mixture that goes beyond it."""

    def __post_init__(self) -> None:
        check_options(self)
        check_range("speech_lufs", self.speech_lufs)
        check_range("noise_lufs", self.noise_lufs)

    def scale(
        self, speakers: np.ndarray, noise: np.ndarray | None, sample_rate: int, generator: np.random.Generator
    ) -> Speech:
        def loud(samples: np.ndarray, range_lufs: tuple[float, float]) -> np.ndarray:
            samples = to_level(samples, float(generator.uniform(*range_lufs)), "lufs", sample_rate)
            largest = float(np.abs(samples).max(initial=0))
            return samples * np.float32(self.peak / largest) if largest >= 1 else samples

        speakers = np.stack([loud(speaker, self.speech_lufs) for speaker in speakers])
        if noise is not None:
            noise = loud(noise, self.noise_lufs)
        mixture = speakers.sum(axis=0) if noise is None else speakers.sum(axis=0) + noise
        largest = float(np.abs(mixture).max(initial=0))
        return _rescaled(speakers, noise, self.peak / largest) if largest > self.peak else (speakers, noise)


SpeakerLevels = BalancedLevels | ChainedLevels | LoudnessLevels


def _peak(speakers: np.ndarray, noise: np.ndarray | None) -> float:
    """Largest sample of the mixture or of any speaker."""
    mixture = speakers.sum(axis=0) if noise is None else speakers.sum(axis=0) + noise
    return max(float(np.abs(mixture).max(initial=0)), float(np.abs(speakers).max(initial=0)))


def _rescaled(speakers: np.ndarray, noise: np.ndarray | None, gain: float) -> Speech:
    assert math.isfinite(gain)
    return speakers * np.float32(gain), None if noise is None else noise * np.float32(gain)
