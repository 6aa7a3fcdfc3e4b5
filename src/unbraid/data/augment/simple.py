"""Augmentations that cost next to nothing: gain, loudness, polarity, channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.data.augment.base import Occasional
from unbraid.data.mixing.levels import to_level
from unbraid.options import check_range


@dataclass(frozen=True, kw_only=True)
class Gain(Occasional):
    """Louder or softer."""

    kind: Literal["gain"] = "gain"

    range_db: tuple[float, float] = (-10.0, 10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_db", self.range_db)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        return samples * np.float32(10 ** (generator.uniform(*self.range_db) / 20))


@dataclass(frozen=True, kw_only=True)
class Loudness(Occasional):
    """To a loudness after ITU-R BS.1770. Silence has none and stays."""

    kind: Literal["loudness"] = "loudness"

    range_lufs: tuple[float, float] = (-30.0, -18.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("range_lufs", self.range_lufs)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        return to_level(samples, float(generator.uniform(*self.range_lufs)), "lufs", sample_rate)


@dataclass(frozen=True, kw_only=True)
class Polarity(Occasional):
    """Turned upside down, which nobody hears and every waveform loss sees."""

    kind: Literal["polarity"] = "polarity"

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        return -samples


@dataclass(frozen=True, kw_only=True)
class ChannelSwap(Occasional):
    """Left and right exchanged; more channels in reverse order; mono stays as it is."""

    kind: Literal["channel-swap"] = "channel-swap"

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        return np.ascontiguousarray(samples[::-1])
