"""What is scored: tracks with their references, whether they come from a data set or from a fixed list of mixtures.

A track holds no audio; any stretch of it is read when it is asked for, here or in another process.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unbraid.audio.formats import AudioInfo
from unbraid.data.clips import clips_of, read_source, refuse_truncated
from unbraid.data.combining import join_datasets
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.layouts.layout import SPLITS, split_folder
from unbraid.data.lists.bundled import find_list
from unbraid.data.lists.scenes import (
    Recordings,
    Scene,
    find_recordings,
    holds_scenes,
    read_scene_source,
    read_scenes,
    scenes_layout,
)
from unbraid.data.lists.speaker_pairs import (
    ListedMixture,
    find_listed,
    holds_noise,
    read_list,
    read_noise,
    read_speaker,
)
from unbraid.data.open import find_layout, open_dataset, open_splits
from unbraid.errors import ConfigError, DataError
from unbraid.evaluation.matching.source_names import rest_of

LIST_SPLITS: dict[str, Split] = {
    "speech-test": "test",
    "speech-valid": "valid",
    "speech-noisy-test": "test",
    "speech-noisy-valid": "valid",
    "cinematic-test": "test",
    "cinematic-valid": "valid",
    "music-test": "test",
    "music-valid": "valid",
    # The song's first half is in `music-valid`: no other song of the corpus is free of the singer's training songs.
    "music-song-test": "valid",
}
Bands = tuple[tuple[float, str], ...]
"""Of a number, from low to high: what lies below the limit has the name."""
_LEVEL_BANDS_DB: Bands = ((1.0, "below 1 dB"), (3.0, "1 to 3 dB"), (math.inf, "from 3 dB"))
_OVERLAP_BANDS: Bands = ((0.5, "below 50 %"), (0.7, "50 to 70 %"), (math.inf, "from 70 %"))
_NOISE_BANDS_DB: Bands = ((5.0, "below 5 dB"), (10.0, "5 to 10 dB"), (math.inf, "from 10 dB"))
"""Below the speakers."""


_NO_SOURCES = frozenset(["noise", "residual", "reverb"])
"""Files that lie beside the speakers of a mixture and are not to be separated."""


@dataclass(frozen=True, kw_only=True)
class TrackList:
    """The tracks of one evaluation, and what they are called together."""

    name: str
    """As the report calls it: the list, or the folder's name and its split."""
    layout: str
    sources: tuple[str, ...]
    exchangeable: bool
    tracks: tuple[Track, ...]

    def first(self, limit: int | None) -> TrackList:
        """Only the first so many tracks."""
        return TrackList(**{**vars(self), "tracks": self.tracks[:limit]})


class Track(ABC):
    """One mixture with its references, all at one rate, with the same channels and length."""

    name: str
    sample_rate: int
    """Hz."""
    num_channels: int
    num_samples: int
    """Per channel."""
    sources: tuple[str, ...]
    """Those whose reference is known."""
    labels: Mapping[str, str]
    """What it can be grouped by."""
    directory: Path | None = None
    """Where its mixture lies, if that is a file."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    @abstractmethod
    def read_reference(self, source: str, start: int, num_samples: int) -> np.ndarray:
        """(channel, sample) float32."""

    @abstractmethod
    def read_mixture(self, start: int, num_samples: int) -> np.ndarray:
        """(channel, sample) float32."""

    def read_references(self, sources: Sequence[str], start: int, num_samples: int) -> np.ndarray:
        """(source, channel, sample) float32; the rest of a source, such as no_vocals, is the sum of all others."""
        return np.stack([self._read(source, start, num_samples) for source in sources])

    def knows(self, source: str) -> bool:
        """Whether there is a reference for it, or all that its reference is made of."""
        return source in self.sources or rest_of(source) in self.sources

    def _read(self, source: str, start: int, num_samples: int) -> np.ndarray:
        if source in self.sources:
            return self.read_reference(source, start, num_samples)
        total = np.zeros((self.num_channels, num_samples), np.float32)
        for other in self.sources:
            if other != rest_of(source):
                total += self.read_reference(other, start, num_samples)
        return total


class ItemTrack(Track):
    """An item of a data set, at the rate and with the channels of its mixture or else of its sources."""

    def __init__(self, item: Item, sources: Sequence[str]) -> None:
        """`sources` are those of the data set; what an item holds besides, such as noise, is in its mixture alone."""
        clips = [item.mixture] if item.mixture else [clip for clips in item.sources.values() for clip in clips]
        self.item, self.name = item, item.name
        self.sources = tuple(source for source in sources if item.sources.get(source))
        if not self.sources or not clips:
            raise DataError("has no references: only what has references can be scored", subject=f"'{item.name}'")
        self.sample_rate = clips[0].sample_rate
        self.num_channels = max(clip.num_channels for clip in clips)
        self.num_samples = max(-(-clip.num_samples * self.sample_rate // clip.sample_rate) for clip in clips)
        self.labels = dict(item.labels)
        if item.mixture is not None:
            self.directory = item.mixture.path.parent

    def read_reference(self, source: str, start: int, num_samples: int) -> np.ndarray:
        return read_source(self.item.sources[source], start, num_samples, self.sample_rate, self.num_channels)

    def read_mixture(self, start: int, num_samples: int) -> np.ndarray:
        mixture = self.item.mixture
        clips = [mixture] if mixture else [clip for clips in self.item.sources.values() for clip in clips]
        return read_source(clips, start, num_samples, self.sample_rate, self.num_channels)


class ListedTrack(Track):
    """A mixture of a fixed list, at the rate of its utterances."""

    def __init__(self, mixture: ListedMixture, clips: dict[str, Clip]) -> None:
        """`clips` has those of the mixture's recordings by their paths."""
        self.mixture, self.name = mixture, mixture.name
        self.clips = {path: clips[path] for path in mixture.paths}
        self.sample_rate, self.num_channels = clips[mixture.first].sample_rate, 1
        self.num_samples = mixture.num_samples
        self.sources = ("speaker1", "speaker2")
        self.labels = {
            "collection": mixture.collections,
            "sexes": mixture.sexes,
            "level": level_band(mixture.level_difference_db),
        }
        if mixture.overlap is not None:
            self.labels["overlap"] = _band(mixture.overlap, _OVERLAP_BANDS)
        if mixture.noise:
            self.labels["noise"] = _band(mixture.noise_below_db, _NOISE_BANDS_DB)

    def read_reference(self, source: str, start: int, num_samples: int) -> np.ndarray:
        number = self.sources.index(source)
        return read_speaker(self.mixture, number, self.clips, self.sample_rate)[:, start : start + num_samples]

    def read_mixture(self, start: int, num_samples: int) -> np.ndarray:
        total = np.sum([self.read_reference(source, start, num_samples) for source in self.sources], axis=0)
        if self.mixture.noise:
            total = total + read_noise(self.mixture, self.clips, self.sample_rate)[:, start : start + num_samples]
        return total


class SceneTrack(Track):
    """A scene of a fixed list, at the rate and with the channels of the list."""

    def __init__(self, scene: Scene, recordings: Recordings, collections: Mapping[str, str]) -> None:
        """The collections that recordings belong to come by the names of their items."""
        self.scene, self.name = scene, scene.name
        self.sample_rate, self.num_channels = scene.sample_rate, scene.num_channels
        self.num_samples = round(scene.seconds * scene.sample_rate)
        self.sources = scene.sources
        self.recordings = {piece.recording: recordings[piece.recording] for piece in scene.pieces}
        found: dict[str, list[str]] = {}
        for piece in scene.pieces:
            if collection := collections.get(piece.item, ""):
                found.setdefault(piece.source, []).append(collection)
        self.labels = {source: "+".join(sorted(set(names))) for source, names in found.items()}

    def read_reference(self, source: str, start: int, num_samples: int) -> np.ndarray:
        samples = read_scene_source(self.scene, source, self.recordings, self.sample_rate, self.num_channels)
        return samples[:, start : start + num_samples]

    def read_mixture(self, start: int, num_samples: int) -> np.ndarray:
        return np.sum([self.read_reference(source, start, num_samples) for source in self.sources], axis=0)


class TrackReader:
    """The mixture of a track as a Separator reads it: one pass, and the way to another."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.info = AudioInfo(
            name=f"'{track.name}'",
            sample_rate=track.sample_rate,
            num_channels=track.num_channels,
            num_samples=track.num_samples,
            expected_samples=track.num_samples,
        )

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        for start in range(0, self.track.num_samples, block_samples):
            yield self.track.read_mixture(start, min(block_samples, self.track.num_samples - start))

    def reopen(self) -> TrackReader:
        return TrackReader(self.track)

    def close(self) -> None:
        pass


def open_tracks(root: Path, split: Split | Literal["all"] | None = None, layout: str = "auto") -> TrackList:
    """The items of a data set that have references: of one split, of all, or, by default, of the test split.

    Folders of songs that are not split are scored whole by default.
    """
    if split is None:
        known, start, _ = find_layout(root, layout)
        plain = known.name == "songs" and not any(split_folder(start, one) for one in SPLITS)
        split = "all" if plain else "test"
    datasets = open_splits(root, layout) if split == "all" else [open_dataset(root, split, layout)]
    for dataset in datasets:
        refuse_truncated(clips_of(dataset))
    sources = tuple(dict.fromkeys(source for dataset in datasets for source in dataset.sources))
    # Noise beside numbered speakers is in the mixture and nobody's source.
    speakers = tuple(source for source in sources if source not in _NO_SOURCES)
    sources = speakers if _are_speakers(speakers) else sources
    tracks = [ItemTrack(item, sources) for dataset in datasets for item in dataset.items]
    if not tracks:
        raise DataError(f"holds nothing in the split '{split}'", subject=f"{root}", remedy="name another split")
    return TrackList(
        name=f"{root.resolve().name} ({split})",
        layout=datasets[0].layout,
        sources=sources,
        exchangeable=all(dataset.exchangeable or _are_speakers(sources) for dataset in datasets),
        tracks=tuple(sorted(tracks, key=lambda track: track.name) if split == "all" else tracks),
    )


def _are_speakers(sources: Sequence[str]) -> bool:
    """speaker1, speaker2 and so on: numbers are no names."""
    return len(sources) > 1 and all(re.fullmatch(r"(speaker|spk|s)\d", source) for source in sources)


def open_list(name: str, root: str | Path) -> TrackList:
    """A committed list by name, or a file of the same form, over the corpus that its recordings are in."""
    path = find_list(name) or Path(name)
    if not path.is_file():
        raise DataError(
            f"there is no list '{name}'", remedy=f"give the path of a CSV file or one of {', '.join(LIST_SPLITS)}"
        )
    scenes = holds_scenes(path)
    layout = scenes_layout(path) if scenes else "corpus:noisy" if holds_noise(path) else "auto"
    known = name in LIST_SPLITS
    splits = [open_dataset(Path(root), LIST_SPLITS[name], layout)] if known else open_splits(Path(root), layout)
    dataset = join_datasets(splits)
    tracks = _scene_tracks(path, dataset) if scenes else _speaker_tracks(path, dataset)
    if not tracks:
        raise DataError(f"the list {path} is empty", remedy="give one with at least one mixture")
    return TrackList(
        name=name if name in LIST_SPLITS else path.stem,
        layout="list",
        sources=tuple(dict.fromkeys(source for track in tracks for source in track.sources)),
        exchangeable=_are_speakers(tracks[0].sources),
        tracks=tracks,
    )


def _speaker_tracks(path: Path, dataset: Dataset) -> tuple[Track, ...]:
    mixtures = read_list(path)
    clips = find_listed(dataset, mixtures)
    return tuple(ListedTrack(mixture, clips) for mixture in mixtures)


def _scene_tracks(path: Path, dataset: Dataset) -> tuple[Track, ...]:
    scenes = read_scenes(path)
    recordings = find_recordings(dataset, scenes)
    collections = {item.name: item.labels.get("collection", "") for item in dataset.items}
    return tuple(SceneTrack(scene, recordings, collections) for scene in scenes)


def level_band(difference_db: float) -> str:
    """How far apart two speakers are in level, as a label."""
    return _band(abs(difference_db), _LEVEL_BANDS_DB)


def _band(number: float, bands: Bands) -> str:
    return next(name for limit, name in bands if number < limit)


def check_names(tracks: Sequence[Track]) -> None:
    """Results are kept by name, so no name may stand twice."""
    seen: set[str] = set()
    for track in tracks:
        if track.name in seen:
            raise ConfigError(f"two tracks are called '{track.name}'", remedy="give every track a name of its own")
        seen.add(track.name)
