"""Fixed lists of scenes, for validation and test: who speaks, what plays and what happens when, and how loud.

A list is a CSV file with one row per piece of sound:

    scene            name of the scene
    scene_seconds    its length
    scene_rate       the rate at which it is rebuilt to the bit, in Hz
    scene_channels   1 for mono, which is also what a list without this column means, or 2 for stereo
    source           dialogue, music or effects; a stem of a song; or `accompaniment`, which is bass and other in one
    item             name of the recording in the data set
    read_from        where the piece begins in the recording, in seconds
    seconds          length of the piece
    at               where it begins in the scene, in seconds
    gain             factor

Every piece fades in and out over 5 ms. All times are whole hundredths of a second.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from unbraid.data.items import ACCOMPANIMENT, Dataset, Example, MissingRecordingsError
from unbraid.data.lists.table import read_columns, read_list_rows
from unbraid.data.mixing.pools import SourceRecording
from unbraid.data.mixing.stem_mixing import fade_ends
from unbraid.files.pending import PendingFile, write_pending
from unbraid.models.contract import ModelSpec

HIDDEN_BY_ACCOMPANIMENT = ("bass", "other")
"""Sources of which nothing is known where there is an accompaniment."""

_GRID_SECONDS = 0.01
_MOST_SECONDS, _MOST_HZ = 86_400.0, 768_000
"""ours: of a scene; what is longer is a damaged list."""


@dataclass(frozen=True)
class ScenePiece:
    """One sound in a scene. Times in seconds."""

    source: str
    item: str
    read_from: float
    seconds: float
    at: float
    gain: float

    @property
    def recording(self) -> tuple[str, str]:
        """Which source of which item it is."""
        return self.item, self.source


Recordings = Mapping[tuple[str, str], SourceRecording]
"""By item and source."""


@dataclass(frozen=True)
class Scene:
    """One mixture of a fixed list."""

    name: str
    seconds: float
    sample_rate: int
    pieces: tuple[ScenePiece, ...]
    num_channels: int = 1

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that sound in it."""
        return tuple(dict.fromkeys(piece.source for piece in self.pieces))


def read_scene_source(
    scene: Scene, source: str, recordings: Recordings, sample_rate: int, num_channels: int = 1
) -> np.ndarray:
    """(channel, sample) float32: all pieces of one source of a scene, silence where it has none."""
    length = round(scene.seconds * sample_rate)
    total = np.zeros((num_channels, length), np.float32)
    for piece in scene.pieces:
        if piece.source != source:
            continue
        start, at = round(piece.read_from * sample_rate), round(piece.at * sample_rate)
        num_samples = min(round(piece.seconds * sample_rate), length - at)
        samples = recordings[piece.recording].read(start, num_samples, sample_rate, num_channels)
        total[:, at : at + num_samples] += fade_ends(samples, sample_rate) * np.float32(piece.gain)
    return total


def read_scene(scene: Scene, recordings: Recordings, spec: ModelSpec) -> Example:
    """The scene as an example for a model of named sources; what the model does not give is in the mixture alone."""
    every = dict.fromkeys((*spec.sources, *scene.sources))
    parts = {
        source: read_scene_source(scene, source, recordings, spec.sample_rate, spec.num_channels) for source in every
    }
    references = torch.from_numpy(np.stack([parts[source] for source in spec.sources]))
    mixture = torch.from_numpy(np.sum(list(parts.values()), axis=0, dtype=np.float32))
    unknown = HIDDEN_BY_ACCOMPANIMENT if ACCOMPANIMENT in scene.sources else ()
    present = torch.tensor([source not in unknown for source in spec.sources])
    return Example(mixture, references, present)


def find_recordings(dataset: Dataset, scenes: Iterable[Scene]) -> dict[tuple[str, str], SourceRecording]:
    """What the scenes are made of."""
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
    return {(name, source): SourceRecording(there[name].sources[source]) for name, source in wanted}


def holds_scenes(path: Path) -> bool:
    """Whether the file is a list of scenes; lists of speakers look otherwise."""
    return "scene" in read_columns(path)


def scenes_layout(path: Path) -> str:
    """The layout of the data that a list is of: film sound, or songs of stems."""
    sources = {piece.source for scene in read_scenes(path) for piece in scene.pieces}
    return "corpus:cinematic" if sources & {"dialogue", "music", "effects"} else "corpus:music"


def read_scenes(path: Path) -> list[Scene]:
    """The scenes of a list, in its order; DataError where it is another table or holds what cannot be."""
    scenes: dict[str, tuple[float, int, list[ScenePiece], int]] = {}
    for row in read_list_rows(path):
        seconds = row.number("scene_seconds", least=0.0, most=_MOST_SECONDS)
        piece = ScenePiece(
            source=row.text("source"),
            item=row.text("item"),
            read_from=row.number("read_from", least=0.0),
            seconds=row.number("seconds", least=0.0, most=_MOST_SECONDS),
            at=row.number("at", least=0.0, most=seconds),
            gain=row.number("gain"),
        )
        channels = row.count("scene_channels", most=2) if row.has("scene_channels") else 1
        facts = seconds, row.count("scene_rate", most=_MOST_HZ), [], channels
        scenes.setdefault(row.text("scene"), facts)[2].append(piece)
    return [
        Scene(name, seconds, rate, tuple(pieces), channels)
        for name, (seconds, rate, pieces, channels) in scenes.items()
    ]


def write_scenes(scenes: Iterable[Scene], path: Path) -> None:
    """One row per piece."""
    scenes = list(scenes)
    head = ("scene", "scene_seconds", "scene_rate")
    if any(scene.num_channels > 1 for scene in scenes):
        head = (*head, "scene_channels")
    text = io.StringIO()
    writer = csv.DictWriter(text, [*head, *ScenePiece.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    for scene in scenes:
        own = dict(zip(head, (scene.name, scene.seconds, scene.sample_rate, scene.num_channels), strict=False))
        writer.writerows(own | asdict(piece) for piece in scene.pieces)
    write_pending(PendingFile(path), text.getvalue().encode())


def on_grid(seconds: float) -> float:
    """To whole hundredths of a second, rounded down, so that nothing begins or ends too late."""
    return round(int(seconds / _GRID_SECONDS + 1e-6) * _GRID_SECONDS, 2)
