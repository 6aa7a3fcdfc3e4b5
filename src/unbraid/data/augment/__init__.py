"""Augmentations: what is done to the pieces of a source before they are mixed.

Each is a frozen dataclass with a `probability` and a method `apply(samples, sample_rate, generator)` from (channel,
sample) float32 to the same shape. A training config names a tuple of them, for every source its own; `augment` does
one after the other. Silence stays silent. The field `kind` tells them apart in settings that are not Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbraid.data.augment.codecs import Codec
from unbraid.data.augment.filters import Equaliser, HighPass, LowPass
from unbraid.data.augment.simple import ChannelSwap, Gain, Loudness, Polarity
from unbraid.data.augment.speed import PitchTempo, Speed

Augmentation = ChannelSwap | Codec | Equaliser | Gain | HighPass | Loudness | LowPass | PitchTempo | Polarity | Speed

Augmentations = tuple[Augmentation, ...]


def augment(
    samples: np.ndarray, augmentations: Sequence[Augmentation], sample_rate: int, generator: np.random.Generator
) -> np.ndarray:
    """(channel, sample) float32 after each augmentation in turn, each with its probability."""
    for augmentation in augmentations:
        if generator.random() < augmentation.probability and samples.shape[-1]:
            samples = augmentation.apply(samples, sample_rate, generator)
    return samples


def stretch_of(augmentations: Sequence[Augmentation]) -> float:
    """How many times longer a piece is best read, so that none of these runs out of samples before its end."""
    stretch = 1.0
    for augmentation in augmentations:
        stretch *= augmentation.stretch
    return stretch
