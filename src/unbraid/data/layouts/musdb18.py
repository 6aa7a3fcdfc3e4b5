"""MUSDB18 and MUSDB18-HQ (Rafii et al. 2017, 2019): 150 songs, 100 to train and validate with, 50 to test.

    MUSDB18       root/{train,test}/<Artist - Title>.stem.mp4             AAC, five streams
    MUSDB18-HQ    root/{train,test}/<Artist - Title>/{mixture,vocals,drums,bass,other}.wav

Of the training songs, 14 that everybody agrees on are for validation; where they lie in a folder valid/ of their own,
as some trainers want it, they are found there too. With the option "full-train" they are trained on as well, as by
ResUNetDecouple+, and validation then says little of other songs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unbraid.data.clips import open_clip
from unbraid.data.items import Dataset, Item, Split
from unbraid.data.layouts.layout import (
    Layout,
    NoSplitError,
    list_audio,
    list_folders,
    need_split_folder,
    split_folder,
)
from unbraid.data.layouts.songs import MUSIC_STEMS, make_dataset, open_songs_at
from unbraid.files.names import printable

VALIDATION_SONGS = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)
"""The validation split of the `musdb` package, which the papers use."""

STEM_STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""What the streams of a .stem.mp4 hold, in order."""

STEM_SUFFIX = ".stem.mp4"


def _song_name(path: Path) -> str:
    return path.name[: -len(STEM_SUFFIX)] if path.name.lower().endswith(STEM_SUFFIX) else path.name


def _mp4_songs(folder: Path) -> list[Path]:
    return [path for path in list_audio(folder) if path.name.lower().endswith(STEM_SUFFIX)]


def _hq_songs(folder: Path) -> list[Path]:
    return list_folders(folder)


def find_mp4(root: Path) -> Path | None:
    train = split_folder(root, "train") or split_folder(root, "test")
    return root if train and _mp4_songs(train) else None


def find_hq(root: Path) -> Path | None:
    """Told from any other song folders by the names of the songs."""
    folders = [folder for split in ("train", "valid") if (folder := split_folder(root, split))]
    names = {song.name for folder in folders for song in _hq_songs(folder)}
    return root if names & VALIDATION_SONGS else None


FULL_TRAIN = {"full-train": "train on all 100 songs, those for validation too"}


def _choose(root: Path, split: Split, options: frozenset[str], list_songs: Callable[[Path], list[Path]]) -> list[Path]:
    if split == "test":
        songs = list_songs(need_split_folder(root, "test"))
    else:
        folders = [folder for one in ("train", "valid") if (folder := split_folder(root, one))]
        if not folders:
            need_split_folder(root, split)
        everything = split == "train" and "full-train" in options
        # By name, for a song that was copied to valid/ and left in train/ too.
        named = {
            _song_name(song): song
            for folder in folders
            for song in list_songs(folder)
            if everything or (_song_name(song) in VALIDATION_SONGS) == (split == "valid")
        }
        songs = [named[name] for name in sorted(named)]
    if not songs:
        raise NoSplitError(f"holds no songs of MUSDB18 for the split '{split}'", subject=f"'{printable(root)}'")
    return songs


def open_hq(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    return make_dataset("musdb18-hq", root, split, open_songs_at(_choose(root, split, options, _hq_songs)))


def open_mp4(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    items = []
    for path in _choose(root, split, options, _mp4_songs):
        clips = {name: open_clip(path, stream) for stream, name in enumerate(STEM_STREAMS)}
        mixture = clips.pop("mixture")
        name = _song_name(path)
        items.append(Item(name, {stem: (clips[stem],) for stem in MUSIC_STEMS}, mixture, {"song": name}))
    return make_dataset("musdb18", root, split, items)


MUSDB18 = Layout("musdb18", "train/ and test/ with <Artist - Title>.stem.mp4", find_mp4, open_mp4, FULL_TRAIN)
MUSDB18_HQ = Layout(
    "musdb18-hq",
    "train/ and test/ with <Artist - Title>/{mixture,vocals,drums,bass,other}.wav",
    find_hq,
    open_hq,
    FULL_TRAIN,
)
