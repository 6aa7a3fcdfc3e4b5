"""LibriSpeech (Panayotov et al. 2015), for mixing on the fly: utterances by speaker.

LibriSpeech/{train-clean-100,train-clean-360,dev-clean,test-clean,…}/<speaker>/<chapter>/<utterance>.flac
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unbraid.data.clips import open_clips
from unbraid.data.items import Dataset, Item, Split
from unbraid.data.layouts.layout import Layout, NoSplitError, find_below, list_audio, list_folders
from unbraid.files.names import printable

_SUBSETS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "valid": ("dev-clean", "dev-other"),
    "test": ("test-clean", "test-other"),
}


def find(root: Path) -> Path | None:
    names = [name for names in _SUBSETS.values() for name in names]
    return find_below(root, lambda folder: any((folder / name).is_dir() for name in names), frozenset({"librispeech"}))


def open_librispeech(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    wanted = [name for name in _SUBSETS[split] if "other" in options or "-clean" in name]
    folders = [root / name for name in wanted if (root / name).is_dir()]
    if not folders:
        raise NoSplitError(f"has none of {', '.join(wanted)} for the split '{split}'", subject=f"'{printable(root)}'")
    files = [
        (speaker.name, path)
        for folder in folders
        for speaker in list_folders(folder)
        for chapter in list_folders(speaker)
        for path in list_audio(chapter)
    ]
    clips = open_clips([path for _, path in files])
    items = tuple(
        Item(path.stem, {"speech": (clip,)}, None, {"speaker": speaker})
        for (speaker, path), clip in zip(files, clips, strict=True)
    )
    return Dataset(LIBRISPEECH.qualified(options), root, split, ("speech",), True, items)


LIBRISPEECH = Layout(
    "librispeech",
    "{train-clean-100,dev-clean,test-clean,…}/<speaker>/<chapter>/<utterance>.flac",
    find,
    open_librispeech,
    {"other": "the harder subsets (train-other-500, dev-other, test-other) too"},
)
