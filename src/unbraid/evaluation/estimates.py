"""Where estimates come from: a model that separates each track, or a folder that another tool has filled.

Both give the same thing, so that all are scored by one protocol. Both can be sent to another process.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbraid.audio.rate import resample
from unbraid.axes import Float, Tensor
from unbraid.data.clips import read_clip, to_channels
from unbraid.data.items import Clip
from unbraid.errors import ConfigError
from unbraid.evaluation.folders import match_folder
from unbraid.evaluation.source_names import fold, name_rest, source_names
from unbraid.evaluation.tracks import Track, TrackList, TrackReader
from unbraid.files.scratch import make_array
from unbraid.models.contract import SeparationModel
from unbraid.separation.channels import gather_group, plan_groups, scatter_group
from unbraid.separation.events import Block, Finished
from unbraid.separation.separator import Separator
from unbraid.signal.lengths import fit_length
from unbraid.weights.store import inspect_model

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
    """A model, run on every track.

    model: a bundled name, a weights file, a model, or a Separator, whose settings then hold; the last two stay in this
    process. settings: those of Separator, such as segment_seconds, overlap and shifts. whole: each track in one call of
    the model; None does so with mixtures of speakers of up to a minute.
    """

    def __init__(
        self,
        model: str | Path | SeparationModel | Separator,
        *,
        device: str = "auto",
        whole: bool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(model, Separator) and settings:
            raise ConfigError("a Separator has its settings already: give them to it, or give the model's name here")
        self.model, self.device, self.whole, self.settings = model, device, whole, dict(settings or {})
        if whole and self.settings:
            raise ConfigError(
                "a track in one call of the model takes no settings of chunks", remedy="choose `whole=False`"
            )

    @cached_property
    def separator(self) -> Separator:
        if isinstance(self.model, Separator):
            return self.model
        return Separator(self.model, device=self.device, **self.settings)

    @property
    def can_be_sent(self) -> bool:
        """Whether another process can build the same."""
        return isinstance(self.model, str | Path)

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"kind": "model", "whole": self.whole, "settings": self.settings}
        if self.can_be_sent:
            stored = inspect_model(self.model)  # type: ignore[arg-type]
            return facts | {"name": stored.name, "sha256": stored.sha256}
        model = self.separator.model
        return facts | {"name": type(model).__name__, "sha256": ""}

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
        whole = self.whole
        if whole is None:
            whole = exchangeable and not self.settings and track.seconds <= WHOLE_SECONDS
        began = time.perf_counter()
        if whole and not isinstance(self.model, Separator):
            mixture = torch.from_numpy(track.read_mixture(0, track.num_samples))
            samples = separate_at_once(self.separator.model, mixture, track.sample_rate).numpy()
            elapsed = time.perf_counter() - began
            yield _stored(names, wanted, samples, elapsed)
            return
        shape = (len(names), track.num_channels, track.num_samples)
        samples = make_array(shape)
        elapsed = self._separate(track, samples)
        yield _stored(names, wanted, samples, elapsed)

    def _separate(self, track: Track, samples: np.ndarray) -> float:
        """Fills `samples` and gives the wall time of the model."""
        elapsed = 0.0
        with closing(self.separator.stream(TrackReader(track))) as events:
            for event in events:
                match event:
                    case Block():
                        end = event.start_sample + event.samples.shape[-1]
                        samples[..., event.start_sample : end] = event.samples
                    case Finished():
                        elapsed = event.model_seconds
        return elapsed

    def __getstate__(self) -> dict[str, Any]:
        """Without the loaded model, which another process loads itself."""
        return {name: value for name, value in vars(self).items() if name != "separator"}


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


def separate_at_once(
    model: SeparationModel, mixture: Float[Tensor, "channel sample"], sample_rate: int
) -> Float[Tensor, "source channel sample"]:
    """One call of the model for a whole mixture, at the model's rate and back."""
    spec = model.spec
    samples = torch.from_numpy(resample(mixture.numpy(), sample_rate, spec.sample_rate))
    device = next(model.parameters()).device
    groups = plan_groups(samples.shape[0], spec.num_channels)
    whole = samples.new_empty(spec.num_sources, *samples.shape)
    with torch.inference_mode():
        rows = torch.stack([gather_group(samples, group, spec.num_channels) for group in groups])
        for group, part in zip(groups, model(rows.to(device)).float().cpu(), strict=True):
            whole[:, list(group)] = scatter_group(part, group)
    flat = resample(whole.flatten(0, 1).numpy(), spec.sample_rate, sample_rate)
    back = np.ascontiguousarray(fit_length(flat, mixture.shape[-1]))
    return torch.from_numpy(back).unflatten(0, (spec.num_sources, -1))


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
