"""Who speaks when in a mixture that is drawn: all the time, in turns, or one of them alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unbraid.errors import ConfigError
from unbraid.options import Share, check_options, check_range

FADE_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Turns:
    """ours: how many of the mixtures are like a conversation.

    In the others, which are all of them as it comes, everybody speaks from start to end.

    References are silent where their speaker is, so a loss that knows silent references goes with this:
    `thresholded-snr`.
    """

    alone_share: Share = 0.0
    """Share of the mixtures in which one speaker is heard alone."""

    turns_share: Share = 0.0
    """Share of the mixtures in which the speakers come one after the other; of three or more, one may have no turn."""

    overlap_seconds: tuple[float, float] = (-0.5, 1.0)
    """For how long one still speaks when the next begins; below 0 it is a pause."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.alone_share + self.turns_share > 1:
            raise ConfigError(
                f"alone_share and turns_share are at most 1 together, not {self.alone_share} and {self.turns_share}"
            )
        check_range("overlap_seconds", self.overlap_seconds)

    def take(self, speakers: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        """The speakers (source, channel, sample) of one mixture, silent where it is not their turn."""
        if self.alone_share + self.turns_share == 0:
            return speakers
        kind = generator.random()
        if kind >= self.alone_share + self.turns_share:
            return speakers
        order = generator.permutation(len(speakers))
        if kind < self.alone_share:
            return np.where((order == 0)[:, None, None], speakers, np.float32(0))
        num_samples = speakers.shape[-1]
        # Away from the ends, so that the first and the last are heard. Who lies between two pauses that meet is not.
        changes = np.sort(generator.uniform(0.2, 0.8, len(speakers) - 1)) * num_samples
        reach = generator.uniform(*self.overlap_seconds, len(changes)) / 2 * sample_rate
        begins = np.concatenate([[-np.inf], changes - reach])[order]
        ends = np.concatenate([changes + reach, [np.inf]])[order]
        return speakers * _gates(begins, ends, num_samples, sample_rate)[:, None]


def _gates(begins: np.ndarray, ends: np.ndarray, num_samples: int, sample_rate: int) -> np.ndarray:
    """(speaker, sample): 1 from begin to end and 0 elsewhere, with a short way up and down."""
    place = np.arange(num_samples)
    inside = np.minimum(place - begins[:, None], ends[:, None] - place)
    return np.clip(inside / (FADE_SECONDS * sample_rate), 0, 1).astype(np.float32)
