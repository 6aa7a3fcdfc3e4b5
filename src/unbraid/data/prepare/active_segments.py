"""Where a source sounds: the segments of a stem that are worth drawing from.

The rule of SFC's training (after BSRNN's): a stem is cut into segments that overlap, each of them into chunks. A
segment is kept if enough of its chunks are louder than the quietest of the stem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from unbraid.data.clips import is_read_from_start, read_samples, to_channels
from unbraid.data.items import Clip
from unbraid.errors import ConfigError
from unbraid.options import NonNegativeFloat, PositiveFloat, PositiveInt, Range, check_options

_BLOCK_CHUNKS = 30
"""Read at a time: 24 s with the usual rule."""


@dataclass(frozen=True, kw_only=True)
class ActivityRule:
    """The numbers of the rule; the defaults are SFC's."""

    segment_seconds: PositiveFloat = 8.0

    num_chunks: PositiveInt = 10
    """Of a segment."""

    hop_chunks: PositiveInt = 5
    """From one segment to the next: half of it."""

    percentile: Annotated[float, Range(at_least=0.0, at_most=100.0)] = 15.0
    """Of the energies of all chunks of the stem; a chunk has to be above it."""

    floor: NonNegativeFloat = 1e-3
    """Energy that a chunk has to be above in any case: the sum of squares over its samples and channels."""

    silence: NonNegativeFloat = 1e-5
    """What an energy of zero counts as."""

    least_chunks: PositiveInt = 5
    """So many chunks of a segment have to be above both."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.hop_chunks > self.num_chunks:
            raise ConfigError(f"hop_chunks is at most num_chunks ({self.num_chunks}), not {self.hop_chunks}")

    def chunk_samples(self, sample_rate: int) -> int:
        return max(1, int(self.segment_seconds * sample_rate) // self.num_chunks)


def find_active(clips: tuple[Clip, ...], rule: ActivityRule | None = None) -> list[tuple[int, int]]:
    """(start, num_samples) of each segment in which the sum of the clips sounds, at the rate of the first clip.

    Only whole segments count. ours: a stem that is shorter than one is a segment itself, if it is not silent.
    """
    rule = rule or ActivityRule()
    rate, length = clips[0].sample_rate, max(clip.num_samples for clip in clips)
    chunk = rule.chunk_samples(rate)
    energies = chunk_energies(clips, chunk)
    if len(energies) < rule.num_chunks:
        return [(0, length)] if energies.sum() > rule.floor else []
    kept = active_segments(energies, rule)
    return [(int(first) * chunk, rule.num_chunks * chunk) for first in kept]


def active_segments(energies: np.ndarray, rule: ActivityRule) -> np.ndarray:
    """First chunks of the segments to keep, given the energy of each chunk of the stem in turn."""
    firsts = np.arange(0, len(energies) - rule.num_chunks + 1, rule.hop_chunks)
    # Segments overlap, and the percentile is over the chunks of all of them: those in the middle count twice.
    segments = energies[firsts[:, None] + np.arange(rule.num_chunks)]
    segments = np.where(segments == 0, rule.silence, segments)
    threshold = max(float(np.percentile(segments, rule.percentile)), rule.floor)
    return firsts[(segments > threshold).sum(axis=1) >= rule.least_chunks]


def chunk_energies(clips: tuple[Clip, ...], chunk_samples: int) -> np.ndarray:
    """Sum of squares over the samples and channels of each chunk; the last one may be short of samples."""
    length = max(clip.num_samples for clip in clips)
    channels = max(clip.num_channels for clip in clips)
    block = _BLOCK_CHUNKS * chunk_samples
    if any(is_read_from_start(clip) for clip in clips):
        block = -(-length // chunk_samples) * chunk_samples
    energies = []
    for start in range(0, length, block):
        wanted = min(block, -(-(length - start) // chunk_samples) * chunk_samples)
        total = np.zeros((channels, wanted), np.float32)
        for clip in clips:
            part = to_channels(read_samples(clip, start, wanted), channels)
            total[:, : part.shape[1]] += part
        squares = np.square(total, dtype=np.float64).sum(axis=0)
        energies.append(squares.reshape(-1, chunk_samples).sum(axis=1))
    return np.concatenate(energies) if energies else np.zeros(0)
