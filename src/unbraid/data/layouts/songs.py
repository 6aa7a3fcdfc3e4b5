"""Song folders: one folder per song, one file per stem, as most trainers of music models have them.

    root/{train,valid,test}/<song>/{vocals,drums,…}.wav      split by folders (valid may be missing)
    root/<song>/{vocals,drums,…}.wav                         split by a hash of the name

Any extension will do. `mixture` (or `mix`) is the mixture; without it the mixture is the sum of the stems.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from unbraid.data.clips import open_clips
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.layouts.layout import (
    MIXTURE_NAMES,
    SPLITS,
    Layout,
    NoSplitError,
    is_audio,
    list_audio,
    list_folders,
    need_split_folder,
    share_out,
    split_folder,
)
from unbraid.errors import DataError
from unbraid.files.names import printable

MUSIC_STEMS = ("vocals", "drums", "bass", "other")
"""The order in which every layout of music names its stems."""

_LEFT_OUT = ("accompaniment", "linear_mixture", "instrumental")
"""Sums of other stems that converters write beside them."""


def find(root: Path) -> Path | None:
    folders = [folder for split in SPLITS if (folder := split_folder(root, split))]
    # A single file of a known name may be anything, so that there has to be a song of two.
    return (
        root if any(len(_stems(song)) >= 2 for folder in folders or [root] for song in list_folders(folder)) else None
    )


def _songs_in(folder: Path) -> list[Path]:
    return [song for song in list_folders(folder) if _stems(song)]


def _stems(song: Path) -> list[str]:
    stems = [path.stem.lower() for path in list_audio(song)]
    # Folders of takes of one instrument look the same but for the names.
    known = any(stem in (*MUSIC_STEMS, *MIXTURE_NAMES) for stem in stems)
    return stems if known else []


def open_songs(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    splits = {one: folder for one in SPLITS if (folder := split_folder(root, one))}
    if not splits:
        songs = _songs_in(root)
        shares = share_out(song.name for song in songs)
        chosen = [song for song in songs if shares[song.name] == split]
        if not chosen:
            raise NoSplitError(
                f"holds {len(songs)} songs, too few to have a split '{split}'", subject=f"'{printable(root)}'"
            )
    elif split == "valid" and "valid" not in splits and "train" in splits:
        chosen = _held_out(splits["train"], "valid")
    else:
        folder = need_split_folder(root, split)
        chosen = _held_out(folder, "train") if split == "train" and "valid" not in splits else _songs_in(folder)
    return make_dataset("songs", root, split, open_songs_at(chosen))


def _held_out(train: Path, split: Split) -> list[Path]:
    """Without a folder for validation a part of the training songs is kept for it."""
    songs = _songs_in(train)
    shares = share_out(song.name for song in songs)
    return [song for song in songs if (shares[song.name] == "valid") == (split == "valid")]


def open_songs_at(
    songs: Iterable[Path], rename: Mapping[str, str] | None = None, leave_out: Collection[str] = _LEFT_OUT
) -> list[Item]:
    """One item per song folder, its stems under their file names, or as `rename` calls them."""
    files = [(song, path) for song in songs for path in list_audio(song) if path.stem.lower() not in leave_out]
    clips = open_clips([path for _, path in files])
    stems: dict[Path, dict[str, Clip]] = {}
    for (song, path), clip in zip(files, clips, strict=True):
        stem = "mixture" if path.stem.lower() in MIXTURE_NAMES else path.stem.lower()
        if stem in stems.setdefault(song, {}):
            raise DataError(
                f"holds the {stem} more than once", subject=f"'{printable(song)}'", remedy="remove one of the files"
            )
        stems[song][stem] = clip
    items = []
    for song, named in stems.items():
        mixture = named.pop("mixture", None)
        sources = {(rename or {}).get(stem, stem): (clip,) for stem, clip in named.items()}
        items.append(Item(song.name, sources, mixture, {"song": song.name}))
    return items


def make_dataset(
    layout: str, root: Path, split: Split, items: list[Item], order: Collection[str] = MUSIC_STEMS
) -> Dataset:
    """A data set of stems: those of `order` first, others as their names sort."""
    there = {source for item in items for source in item.sources}
    sources = tuple(source for source in order if source in there) + tuple(sorted(there - set(order)))
    if not items:
        raise NoSplitError(f"holds nothing for the split '{split}'", subject=f"'{printable(root)}'")
    return Dataset(layout, root, split, sources, False, tuple(items))


def has_stems(folder: Path, *names: str) -> bool:
    """Whether some song folder in it holds stems of these names."""
    for song in list_folders(folder):
        stems = {path.stem.lower() for path in song.iterdir() if is_audio(path)}
        if stems.issuperset(names):
            return True
    return False


SONGS = Layout(
    "songs",
    "one folder per song, one file per stem (vocals.wav, drums.wav, …), in train/, valid/ and test/ or flat",
    find,
    open_songs,
)
