"""Where estimates come from: a model that separates each track, or a folder that another tool has filled.

Both give the same thing, so that all are scored by one protocol. Both can be sent to another process.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.data.clips import read_clip, to_channels
from unbraid.data.items import Clip
from unbraid.errors import ConfigError
from unbraid.evaluation.matching.folders import match_folder
from unbraid.evaluation.matching.source_names import fold, name_rest, source_names
from unbraid.evaluation.tracks import Track, TrackList, TrackReader
from unbraid.files.scratch import make_array
from unbraid.models.contract import SeparationModel
from unbraid.separation.compositions.identity import identify
from unbraid.separation.config import SeparationConfig
from unbraid.separation.events import Block, Finished
from unbraid.separation.separator import Separator
from unbraid.weights.store import hash_tensors

WHOLE_SECONDS = 60.0
"""ours: mixtures of speakers up to this length go through a model in one call, as papers do; longer ones in chunks."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrackEstimates:
    """What stands beside the references of one track."""

    names: tuple[str, ...]
    read_all: Any
    """A function of first sample and count: (source, channel, sample) float32."""
    model_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def read(self, start: int, num_samples: int) -> np.ndarray:
        return self.read_all(start, num_samples)


class EstimateSource(ABC):
    """Gives the estimates of any track."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What identifies it in a file of scores: two evaluations of the same facts give the same scores."""

    @abstractmethod
    def sources(self, tracks: TrackList) -> tuple[str, ...]:
        """What of these tracks it can be scored on. Raises ConfigError where that is nothing."""

    @abstractmethod
    @contextmanager
    def open(self, track: Track, sources: Sequence[str]) -> Iterator[TrackEstimates]:
        """The estimates of these sources, in their order; of speakers, in any order."""


class ModelEstimates(EstimateSource):
    """A model, run on every track by a Separator, as a recording is separated.

    model: a bundled name, a weights file, a model, or a Separator, whose settings then hold; the last two stay in this
    process. settings: those of Separator, such as segment_seconds, overlap and shifts. whole: each track in one call of
    the model; None does so with mixtures of speakers of up to a minute, unless there are settings. stored_bits:
    estimates are rounded to integers of so many bits, as in a file of them.
    """

    def __init__(
        self,
        model: str | Path | SeparationModel | Separator,
        *,
        device: str = "auto",
        whole: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        stored_bits: int | None = None,
    ) -> None:
        if isinstance(model, Separator) and (settings or whole is not None):
            raise ConfigError(
                "a Separator has its settings already",
                remedy='give them to it, also `segment_seconds="whole"`, or give the model here',
            )
        self.model, self.device, self.whole, self.settings = model, device, whole, dict(settings or {})
        self.stored_bits = stored_bits
        if whole and self.settings.keys() & {"segment_seconds", "overlap", "join"}:
            raise ConfigError(
                "a track in one call of the model takes no settings of chunks", remedy="choose `whole=False`"
            )

    @cached_property
    def separator(self) -> Separator:
        """For tracks in chunks."""
        if isinstance(self.model, Separator):
            return self.model
        return Separator(self.model, device=self.device, **self.settings)

    @cached_property
    def whole_separator(self) -> Separator:
        """The same model with the same settings, for tracks in one call."""
        config = SeparationConfig.of({**self.settings, "segment_seconds": "whole"})
        model = self.separator.model
        if not isinstance(model, SeparationModel):  # several as one
            assert isinstance(self.model, str)
            return Separator(self.model, device=self.device, config=config)
        return Separator(model, device=self.device, config=config)

    def choose_separator(self, track: Track) -> Separator:
        """The one that a track is separated by."""
        if self.whole is None:
            short = self.separator.spec.exchangeable and track.seconds <= WHOLE_SECONDS
            whole = short and not self.settings and not isinstance(self.model, Separator)
        else:
            whole = self.whole
        return self.whole_separator if whole else self.separator

    @property
    def can_be_sent(self) -> bool:
        """Whether another process can build the same."""
        return isinstance(self.model, str | Path)

    def facts(self) -> dict[str, Any]:
        settings = self.model.config.changed() if isinstance(self.model, Separator) else self.settings
        # The level says that the Separator has seen to it: before version 0.2, tracks in one call were as they are.
        level = self.separator.spec.level
        facts: dict[str, Any] = {"kind": "model", "whole": self.whole, "settings": settings, "level": level}
        if isinstance(self.model, str | Path):
            name, sha256 = identify(self.model)
            return facts | {"name": name, "sha256": sha256}
        return facts | {"name": type(self.separator.model).__name__, "sha256": self._hash}

    @cached_property
    def _hash(self) -> str:
        """Over the weights of a model in memory, as files of weights have it."""
        state = self.separator.model.state_dict()
        return hash_tensors({name: tensor.detach().cpu() for name, tensor in state.items()})

    def sources(self, tracks: TrackList) -> tuple[str, ...]:
        spec = self.separator.spec
        if spec.exchangeable != tracks.exchangeable or (spec.exchangeable and spec.num_sources != len(tracks.sources)):
            raise ConfigError(
                f"{tracks.name} holds mixtures of {_listed(tracks.sources)}, and this model gives "
                f"{_listed(spec.sources)}: evaluate another model on it, or this one on other data"
            )
        if spec.exchangeable:
            return tracks.sources
        names = _meant(spec.sources, tracks.sources)
        common = [name for name in names if any(track.knows(name) for track in tracks.tracks)]
        if not common:
            raise ConfigError(
                f"this model gives {_listed(spec.sources)}, and {tracks.name} has references of "
                f"{_listed(tracks.sources)}: nothing in common, so evaluate it on other data"
            )
        return tuple(common)

    @contextmanager
    def open(self, track: Track, sources: Sequence[str]) -> Iterator[TrackEstimates]:
        names = self.separator.spec.sources
        exchangeable = self.separator.spec.exchangeable
        meant = _meant(names, track.sources)
        wanted = list(range(len(names))) if exchangeable else [meant.index(source) for source in sources]
        shape = (len(names), track.num_channels, track.num_samples)
        samples = make_array(shape)
        elapsed = _separate(self.choose_separator(track), track, samples, self.stored_bits)
        yield _stored(names, wanted, samples, elapsed)

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model, which another process loads itself."""
        return {name: value for name, value in vars(self).items() if "separator" not in name}


class FolderEstimates(EstimateSource):
    """What another tool has written: root/track/stem.wav, and the other trees that `folders` knows.

    Estimates are brought to the rate, channels and length of the references, which a note in the scores then says.
    Raises DataError where a track or a source of it has no estimate; with `skip_missing`, such tracks are skipped.
    """

    def __init__(self, root: Path, tracks: TrackList, *, skip_missing: bool = False) -> None:
        self.root = root
        self.clips: dict[str, dict[str, Clip]] = match_folder(root, tracks, skip_missing=skip_missing)

    def facts(self) -> dict[str, Any]:
        return {"kind": "folder", "name": self.root.resolve().name, "path": os.path.abspath(self.root)}

    def sources(self, tracks: TrackList) -> tuple[str, ...]:
        if tracks.exchangeable:
            return tracks.sources
        found = {name for clips in self.clips.values() for name in clips}
        return tuple(name for name in tracks.sources if name in found) + tuple(sorted(found - set(tracks.sources)))

    @contextmanager
    def open(self, track: Track, sources: Sequence[str]) -> Iterator[TrackEstimates]:
        clips = self.clips[track.name]
        if set(sources) <= set(clips):
            clips = {source: clips[source] for source in sources}

        def read(start: int, num_samples: int) -> np.ndarray:
            parts = [read_clip(clip, start, num_samples, track.sample_rate) for clip in clips.values()]
            return np.stack([to_channels(part, track.num_channels) for part in parts])

        yield TrackEstimates(names=tuple(clips), read_all=read, notes=tuple(_notes(track, clips)))


def _separate(separator: Separator, track: Track, samples: np.ndarray, stored_bits: int | None) -> float:
    """Fills `samples` and gives the wall time of the model."""
    elapsed = 0.0
    with closing(separator.stream(TrackReader(track))) as events:
        for event in events:
            match event:
                case Block():
                    end = event.start_sample + event.samples.shape[-1]
                    block = event.samples if stored_bits is None else round_to_bits(event.samples, stored_bits)
                    samples[..., event.start_sample : end] = block
                case Finished():
                    elapsed = event.model_seconds
    return elapsed


def round_to_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    """What a file of integers holds of them: the nearest step, and what lies beyond full scale clipped."""
    steps = 2.0 ** (bits - 1)
    return (np.rint(samples * steps).clip(-steps, steps - 1) / steps).astype(np.float32)


def _meant(names: Sequence[str], sources: Sequence[str]) -> list[str]:
    """What a model's sources are called where the references come from."""
    known = source_names(sources)
    called = [known.get(fold(name), name) for name in names]
    rest = name_rest(called, sources)
    return [rest.get(name, name) for name in called]


def _stored(names: Sequence[str], wanted: list[int], samples: np.ndarray, elapsed: float) -> TrackEstimates:
    return TrackEstimates(
        names=tuple(names[index] for index in wanted),
        read_all=lambda start, count: np.ascontiguousarray(samples[wanted, :, start : start + count]),
        model_seconds=elapsed,
    )


def _notes(track: Track, clips: Mapping[str, Clip]) -> Iterator[str]:
    """What is different from the references."""
    rates = {clip.sample_rate for clip in clips.values()} - {track.sample_rate}
    if rates:
        yield f"resampled from {', '.join(map(str, sorted(rates)))} Hz"
    channels = {clip.num_channels for clip in clips.values()} - {track.num_channels}
    if channels:
        yield f"{', '.join(map(str, sorted(channels)))} channels instead of {track.num_channels}"
    longest = max(abs(clip.seconds - track.seconds) for clip in clips.values())
    if longest > 0.5 / track.sample_rate:
        yield f"up to {longest:.3f} s longer or shorter than the references"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
