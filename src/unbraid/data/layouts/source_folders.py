"""Stem folders: one folder per source, full of recordings of it that have nothing to do with each other.

    root/{train,valid,test}/{vocals,drums,…}/*.wav       or without the folders of splits

Each recording is an item of a single source, for mixing on the fly. Folders in the folder of a source are searched too.
"""

from __future__ import annotations

from pathlib import Path

from unbraid.data.clips import open_clips
from unbraid.data.items import Dataset, Item, Split
from unbraid.data.layouts.layout import (
    SPLITS,
    Layout,
    NoSplitError,
    is_audio,
    list_folders,
    need_split_folder,
    share_out,
    split_folder,
)
from unbraid.data.layouts.songs import make_dataset
from unbraid.files.names import printable

_MOST_SOURCES = 32
"""More folders than this are speakers, albums or songs, not sources. ours."""


def _pools(folder: Path) -> dict[str, list[Path]]:
    pools = {}
    for source in list_folders(folder):
        files = sorted(path for path in source.rglob("*") if is_audio(path) and not path.name.startswith("."))
        if files:
            pools[source.name.lower()] = files
    return pools


def find(root: Path) -> Path | None:
    """At least two folders with recordings in them. Tried last: many things look like this."""
    folders = [folder for split in SPLITS if (folder := split_folder(root, split))] or [root]
    return root if any(2 <= _count(folder) <= _MOST_SOURCES for folder in folders) else None


def _count(folder: Path) -> int:
    """Folders with a recording somewhere below."""
    sources = list_folders(folder)
    if len(sources) > _MOST_SOURCES:
        return len(sources)
    return sum(any(is_audio(path) for path in source.rglob("*")) for source in sources)


def open_pools(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    has_splits = any(split_folder(root, one) for one in SPLITS)
    folder = need_split_folder(root, split) if has_splits else root
    pools = _pools(folder)
    items = []
    for source, files in pools.items():
        names = {path: path.relative_to(folder).as_posix() for path in files}
        if not has_splits:
            shares = share_out(names.values())
            names = {path: name for path, name in names.items() if shares[name] == split}
        items += [Item(names[clip.path], {source: (clip,)}) for clip in open_clips(list(names))]
    if not items:
        raise NoSplitError(f"holds too few recordings to have a split '{split}'", subject=f"'{printable(root)}'")
    return make_dataset("pools", root, split, items)


POOLS = Layout("pools", "one folder per source (vocals/*.wav, drums/*.wav, …), the files unrelated", find, open_pools)
