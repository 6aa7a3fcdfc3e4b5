"""Draws fixed lists of scenes: who speaks, what plays and what happens when, and how loud."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unbraid.data.items import Dataset, Item
from unbraid.data.lists.scenes import Scene, ScenePiece, on_grid
from unbraid.data.mixing.levels import loudness_lufs
from unbraid.data.mixing.pools import SourceRecording, is_silent
from unbraid.data.mixing.stem_mixing import fade_ends
from unbraid.errors import DataError

LEVELS_LUFS = {"dialogue": -17.0, "music": -24.0, "effects": -21.0}
"""Of Divide and Remaster."""
SOURCE_SPREAD_DB, PIECE_SPREAD_DB = 2.0, 1.0
"""Each source of a scene is so far from its level at most, and each piece from its source's."""

_TRIES = 50


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

    def dialogue(self) -> list[ScenePiece]:
        """Utterances with pauses between them, by one speaker or two in turn."""
        items = self.pools["dialogue"]
        speakers = sorted({_speaker(item) for item in items})
        size = min(int(self.generator.integers(1, 3)), len(speakers))
        chosen = self.generator.choice(speakers, size=size, replace=False)
        pieces: list[ScenePiece] = []
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

    def music(self) -> ScenePiece:
        whole = self.generator.random() < 2 / 3
        length = self.seconds if whole else self.generator.uniform(self.seconds / 2, self.seconds)
        return self.draw("music", self.pools["music"], length, self.generator.uniform(0, self.seconds - length))

    def effects(self) -> list[ScenePiece]:
        """Events anywhere; they may overlap."""
        pieces = []
        for _ in range(int(self.generator.integers(2, 6))):
            length = self.generator.uniform(0.5, 5.0)
            at = self.generator.uniform(0, self.seconds - length)
            pieces.append(self.draw("effects", self.pools["effects"], length, at))
        return pieces

    def draw(self, source: str, items: list[Item], length: float, at: float, from_start: bool = False) -> ScenePiece:
        """A piece that sounds, of some recording; shorter than asked where the recording is."""
        generator, rate = self.generator, self.sample_rate
        for _ in range(_TRIES):
            item = items[int(generator.integers(len(items)))]
            recording = SourceRecording(item.sources[source])
            spare = max(0.0, recording.seconds - length)
            read_from = on_grid(0.0 if from_start else generator.uniform(0.0, spare))
            seconds = on_grid(min(length, recording.seconds - read_from))
            samples = recording.read(round(read_from * rate), round(seconds * rate), rate, 1)
            if samples.size and not is_silent(samples):
                level = self.levels[source] + generator.uniform(-PIECE_SPREAD_DB, PIECE_SPREAD_DB)
                gain = 10 ** ((level - loudness_lufs(fade_ends(samples, rate), rate)) / 20)
                return ScenePiece(source, item.name, read_from, seconds, on_grid(at), round(gain, 6))
        raise DataError(f"the recordings of {source} are silent nearly everywhere, such as {items[0].name}")


def _speaker(item: Item) -> str:
    return item.labels.get("speaker", item.name)
