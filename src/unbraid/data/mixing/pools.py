"""Where pieces of a source are drawn from: all that a data set holds of it, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.data.clips import read_source
from unbraid.data.items import Clip, Dataset
from unbraid.data.mixing.levels import rms
from unbraid.errors import DataError

Weights = Literal["equal", "seconds", "collections"]
"""How likely each recording is: as any other, as it is long, or as it is long within a collection, where all
collections of the data set are as likely as each other."""

Silence = Literal["redrawn", "kept"]
"""Whether a silent piece is drawn anew, or is as good as any other."""

_TRIES = 8
"""How often a piece is drawn until it is not silent."""

_KEPT_BYTES = 2**30
"""ours: a data set that takes less memory than this is decoded once, by every worker process for itself."""

SILENCE_DB = -60.0
"""ours: a piece whose RMS is below this counts as silent."""


@dataclass(frozen=True)
class SourceRecording:
    """What lies in one item of one source: clips that sum up to it."""

    clips: tuple[Clip, ...]

    collection: str = ""
    """Which part of the data set it comes from, for weights by collection."""

    @property
    def seconds(self) -> float:
        return max(clip.seconds for clip in self.clips)

    def num_samples(self, sample_rate: int) -> int:
        """Length at this rate, rounded down."""
        return max(clip.num_samples * sample_rate // clip.sample_rate for clip in self.clips)

    def read(self, start: int, num_samples: int, sample_rate: int, num_channels: int) -> np.ndarray:
        return read_source(self.clips, start, num_samples, sample_rate, num_channels)


class Pool:
    """Recordings of one source, to draw pieces from.

    With `keep`, recordings are read whole and stay in memory once decoded.
    """

    def __init__(
        self,
        recordings: Sequence[SourceRecording],
        weights: Weights = "equal",
        keep: bool = False,
        silence: Silence = "redrawn",
    ) -> None:
        self.recordings = list(recordings)
        if not self.recordings:
            raise DataError("there is nothing to draw from")
        self._bounds = None if weights == "equal" else np.cumsum(weigh(self.recordings, weights))
        self._kept: dict[int, np.ndarray] | None = {} if keep else None
        self._tries = _TRIES if silence == "redrawn" else 1

    def draw(self, num_samples: int, sample_rate: int, num_channels: int, generator: np.random.Generator) -> np.ndarray:
        """A piece of one recording, (channel, sample) float32; shorter than asked where the recording is.

        A silent piece is drawn anew, a few times, unless silence is kept; what is still silent then is what the data
        set holds.
        """
        piece = np.zeros((num_channels, 0), np.float32)
        for _ in range(self._tries):
            number = self._choose(generator)
            length = self.recordings[number].num_samples(sample_rate)
            start = int(generator.integers(max(length - num_samples, 0) + 1))
            piece = self._read(number, start, min(num_samples, length), sample_rate, num_channels)
            if not is_silent(piece):
                break
        return piece

    def _choose(self, generator: np.random.Generator) -> int:
        last = len(self.recordings) - 1
        if self._bounds is None:
            return int(generator.integers(last + 1))
        position = generator.uniform(0, self._bounds[-1])
        return min(int(np.searchsorted(self._bounds, position, side="right")), last)

    def _read(self, number: int, start: int, num_samples: int, sample_rate: int, num_channels: int) -> np.ndarray:
        recording = self.recordings[number]
        if self._kept is None:
            return recording.read(start, num_samples, sample_rate, num_channels)
        whole = self._kept.get(number)
        if whole is None:
            whole = recording.read(0, recording.num_samples(sample_rate), sample_rate, num_channels)
            self._kept[number] = whole
        return whole[:, start : start + num_samples]


def weigh(recordings: Sequence[SourceRecording], weights: Weights) -> list[float]:
    """How likely each recording is, relative to the others."""
    if weights == "equal":
        return [1.0] * len(recordings)
    seconds = [recording.seconds for recording in recordings]
    if weights == "seconds":
        return seconds
    totals: dict[str, float] = {}
    for recording, length in zip(recordings, seconds, strict=True):
        totals[recording.collection] = totals.get(recording.collection, 0.0) + length
    return [length / totals[recording.collection] for recording, length in zip(recordings, seconds, strict=True)]


def fit_memory(recordings: Iterable[SourceRecording], sample_rate: int, num_channels: int) -> bool:
    """Whether all of them, decoded, take little enough memory to be kept.

    This depends on nothing but the recordings, so that the same pieces are drawn whatever was drawn before.
    """
    seconds = sum(recording.seconds for recording in recordings)
    return 4 * seconds * sample_rate * num_channels <= _KEPT_BYTES


def is_silent(samples: np.ndarray) -> bool:
    return rms(samples) < 10 ** (SILENCE_DB / 20)


def place(piece: np.ndarray, num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """The piece somewhere in silence of this length; of a longer one, a random stretch."""
    spare = num_samples - piece.shape[-1]
    if spare == 0:
        return piece
    if spare < 0:
        start = int(generator.integers(-spare + 1))
        return piece[..., start : start + num_samples]
    placed = np.zeros((*piece.shape[:-1], num_samples), np.float32)
    start = int(generator.integers(spare + 1))
    placed[..., start : start + piece.shape[-1]] = piece
    return placed


def recordings_of(dataset: Dataset, source: str) -> list[SourceRecording]:
    """One per item that has this source."""
    return [
        SourceRecording(item.sources[source], item.labels.get("collection", ""))
        for item in dataset.items
        if item.sources.get(source)
    ]
