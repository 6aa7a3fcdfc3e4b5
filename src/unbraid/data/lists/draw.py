"""Draws a fixed list from a data set and writes it: scenes where there is dialogue, else pairs of speakers."""

from __future__ import annotations

from pathlib import Path

from unbraid.data.items import Split
from unbraid.data.lists.draw_pairs import add_noise, list_mixtures
from unbraid.data.lists.draw_scenes import LEVELS_LUFS, list_scenes
from unbraid.data.lists.scenes import write_scenes
from unbraid.data.lists.speaker_pairs import write_list
from unbraid.data.open import open_dataset
from unbraid.errors import DataError


def write_drawn_list(
    root: Path, out: Path, *, split: Split, count: int, seed: int, noise: bool = False, layout: str = "auto"
) -> int:
    """How many mixtures the list has; an `out` that is there is not overwritten."""
    if out.exists():
        raise DataError("is there already", subject=str(out), remedy="choose another name, or remove it first")
    dataset = open_dataset(root, split, layout)
    if set(LEVELS_LUFS) <= set(dataset.sources):
        if noise:
            raise DataError("scenes have no noise of their own", remedy="leave out `noise`")
        write_scenes(list_scenes(dataset, count, seed), out)
        return count
    mixtures = list_mixtures(dataset, count, seed)
    write_list(add_noise(dataset, mixtures, seed) if noise else mixtures, out)
    return count
