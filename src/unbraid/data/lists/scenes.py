"""Fixed lists of scenes, for validation and test: who speaks, what plays and what happens when, and how loud.

A list is a CSV file with one row per piece of sound:

    scene            name of the scene
    scene_seconds    its length
    scene_rate       the rate at which it is rebuilt to the bit, in Hz
    source           dialogue, music or effects
    item             name of the recording in the data set
    read_from        where the piece begins in the recording, in seconds
    seconds          length of the piece
    at               where it begins in the scene, in seconds
    gain             factor

Every piece fades in and out over 5 ms. All times are whole hundredths of a second.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from unbraid.data.items import Dataset, Example, Item, MissingRecordingsError
from unbraid.data.mixing.levels import loudness_lufs
from unbraid.data.mixing.pools import Recording, is_silent
from unbraid.data.mixing.stems import fade_ends
from unbraid.errors import DataError
from unbraid.models.contract import ModelSpec

LEVELS_LUFS = {"dialogue": -17.0, "music": -24.0, "effects": -21.0}
"""Of Divide and Remaster."""
SOURCE_SPREAD_DB, PIECE_SPREAD_DB = 2.0, 1.0
"""Each source of a scene is so far from its level at most, and each piece from its source's."""

_GRID_SECONDS = 0.01
_TRIES = 50


@dataclass(frozen=True)
class Piece:
    """One sound in a scene. Times in seconds."""

    source: str
    item: str
    read_from: float
    seconds: float
    at: float
    gain: float


@dataclass(frozen=True)
class Scene:
    """One mixture of a fixed list."""

    name: str
    seconds: float
    sample_rate: int
    pieces: tuple[Piece, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that sound in it."""
        return tuple(dict.fromkeys(piece.source for piece in self.pieces))


def read_scene_source(
    scene: Scene, source: str, recordings: Mapping[str, Recording], sample_rate: int, num_channels: int = 1
) -> np.ndarray:
    """(channel, sample) float32: all pieces of one source of a scene, silence where it has none."""
    length = round(scene.seconds * sample_rate)
    total = np.zeros((num_channels, length), np.float32)
    for piece in scene.pieces:
        if piece.source != source:
            continue
        start, at = round(piece.read_from * sample_rate), round(piece.at * sample_rate)
        num_samples = min(round(piece.seconds * sample_rate), length - at)
        samples = recordings[piece.item].read(start, num_samples, sample_rate, num_channels)
        total[:, at : at + num_samples] += fade_ends(samples, sample_rate) * np.float32(piece.gain)
    return total


def read_scene(scene: Scene, recordings: Mapping[str, Recording], spec: ModelSpec) -> Example:
    """The scene as an example for a model of named sources; what the model does not give is in the mixture alone."""
    every = dict.fromkeys((*spec.sources, *scene.sources))
    parts = {
        source: read_scene_source(scene, source, recordings, spec.sample_rate, spec.num_channels) for source in every
    }
    references = torch.from_numpy(np.stack([parts[source] for source in spec.sources]))
    mixture = torch.from_numpy(np.sum(list(parts.values()), axis=0, dtype=np.float32))
    return Example(mixture, references, torch.ones(spec.num_sources, dtype=torch.bool))


def find_recordings(dataset: Dataset, scenes: Iterable[Scene]) -> dict[str, Recording]:
    """What the scenes are made of, by name of the item."""
    there = {item.name: item for item in dataset.items}
    wanted = {(piece.item, piece.source) for scene in scenes for piece in scene.pieces}
    if missing := sorted(name for name, source in wanted if name not in there or source not in there[name].sources):
        rendered = "/rendered" in missing[0]
        raise MissingRecordingsError(
            f"lacks {len(missing)} of the {len(wanted)} recordings of the list, such as {missing[0]}",
            subject=str(dataset.root),
            remedy=(
                "render the MIDI files, see `unbraid prepare midi`"
                if rendered
                else "name the data set that the list was made from"
            ),
            has_some=len(missing) < len(wanted),
        )
    return {name: Recording(there[name].sources[source]) for name, source in wanted}


def holds_scenes(path: Path) -> bool:
    """Whether the file is a list of scenes; lists of speakers look otherwise."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return "scene" in (csv.DictReader(file).fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the list {path} cannot be read: {error}") from error


def read_scenes(path: Path) -> list[Scene]:
    """The scenes of a list, in its order."""
    scenes: dict[str, tuple[float, int, list[Piece]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            piece = Piece(
                source=row["source"],
                item=row["item"],
                read_from=float(row["read_from"]),
                seconds=float(row["seconds"]),
                at=float(row["at"]),
                gain=float(row["gain"]),
            )
            scene = scenes.setdefault(row["scene"], (float(row["scene_seconds"]), int(row["scene_rate"]), []))
            scene[2].append(piece)
    return [Scene(name, seconds, rate, tuple(pieces)) for name, (seconds, rate, pieces) in scenes.items()]


def write_scenes(scenes: Iterable[Scene], path: Path) -> None:
    """One row per piece."""
    head = ("scene", "scene_seconds", "scene_rate")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*head, *Piece.__dataclass_fields__], lineterminator="\n")
        writer.writeheader()
        for scene in scenes:
            own = dict(zip(head, (scene.name, scene.seconds, scene.sample_rate), strict=True))
            writer.writerows(own | asdict(piece) for piece in scene.pieces)


def list_scenes(
    dataset: Dataset, count: int, seed: int, seconds: float = 12.0, sample_rate: int = 16_000
) -> list[Scene]:
    """Scenes drawn once: two to four utterances of one or two speakers in turn, music, and two to five events.

    Music plays all the time in two scenes of three, else for half of it or more. Nothing is ever silent all along.
    """
    generator = np.random.default_rng(seed)
    pools = {source: [item for item in dataset.items if source in item.sources] for source in LEVELS_LUFS}
    if empty := [source for source, items in pools.items() if not items]:
        raise DataError(
            f"has no {empty[0]} in the split '{dataset.split}' to make scenes of", subject=f"{dataset.root}"
        )
    return [_Composer(pools, generator, seconds, sample_rate).compose(f"{number:04d}") for number in range(count)]


class _Composer:
    """Draws the pieces of one scene."""

    def __init__(
        self, pools: Mapping[str, list[Item]], generator: np.random.Generator, seconds: float, sample_rate: int
    ) -> None:
        self.pools, self.generator = pools, generator
        self.seconds, self.sample_rate = seconds, sample_rate
        self.levels = {
            source: level + generator.uniform(-SOURCE_SPREAD_DB, SOURCE_SPREAD_DB)
            for source, level in LEVELS_LUFS.items()
        }

    def compose(self, name: str) -> Scene:
        pieces = [*self.dialogue(), self.music(), *self.effects()]
        return Scene(name, self.seconds, self.sample_rate, tuple(pieces))

    def dialogue(self) -> list[Piece]:
        """Utterances with pauses between them, by one speaker or two in turn."""
        items = self.pools["dialogue"]
        speakers = sorted({_speaker(item) for item in items})
        size = min(int(self.generator.integers(1, 3)), len(speakers))
        chosen = self.generator.choice(speakers, size=size, replace=False)
        pieces: list[Piece] = []
        at = self.generator.uniform(0.0, 2.0)
        for turn in range(int(self.generator.integers(2, 5))):
            left = self.seconds - at
            if left < 1.0:
                break
            heard = {piece.item for piece in pieces}
            by_speaker = [item for item in items if _speaker(item) == chosen[turn % len(chosen)]]
            said = [item for item in by_speaker if item.name not in heard] or by_speaker
            piece = self.draw("dialogue", said, min(left, self.generator.uniform(2.0, 6.0)), at, from_start=True)
            pieces.append(piece)
            at = piece.at + piece.seconds + self.generator.uniform(0.2, 1.5)
        return pieces

    def music(self) -> Piece:
        whole = self.generator.random() < 2 / 3
        length = self.seconds if whole else self.generator.uniform(self.seconds / 2, self.seconds)
        return self.draw("music", self.pools["music"], length, self.generator.uniform(0, self.seconds - length))

    def effects(self) -> list[Piece]:
        """Events anywhere; they may overlap."""
        pieces = []
        for _ in range(int(self.generator.integers(2, 6))):
            length = self.generator.uniform(0.5, 5.0)
            at = self.generator.uniform(0, self.seconds - length)
            pieces.append(self.draw("effects", self.pools["effects"], length, at))
        return pieces

    def draw(self, source: str, items: list[Item], length: float, at: float, from_start: bool = False) -> Piece:
        """A piece that sounds, of some recording; shorter than asked where the recording is."""
        generator, rate = self.generator, self.sample_rate
        for _ in range(_TRIES):
            item = items[int(generator.integers(len(items)))]
            recording = Recording(item.sources[source])
            spare = max(0.0, recording.seconds - length)
            read_from = on_grid(0.0 if from_start else generator.uniform(0.0, spare))
            seconds = on_grid(min(length, recording.seconds - read_from))
            samples = recording.read(round(read_from * rate), round(seconds * rate), rate, 1)
            if samples.size and not is_silent(samples):
                level = self.levels[source] + generator.uniform(-PIECE_SPREAD_DB, PIECE_SPREAD_DB)
                gain = 10 ** ((level - loudness_lufs(fade_ends(samples, rate), rate)) / 20)
                return Piece(source, item.name, read_from, seconds, on_grid(at), round(gain, 6))
        raise DataError(f"the recordings of {source} are silent nearly everywhere, such as {items[0].name}")


def _speaker(item: Item) -> str:
    return item.labels.get("speaker", item.name)


def on_grid(seconds: float) -> float:
    """To whole hundredths of a second, rounded down, so that nothing begins or ends too late."""
    return round(int(seconds / _GRID_SECONDS + 1e-6) * _GRID_SECONDS, 2)
