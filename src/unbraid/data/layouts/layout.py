"""What a layout is: how to recognise a data set on disk, and how to open one split of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unbraid.audio.discovery import AUDIO_EXTENSIONS
from unbraid.data.items import Dataset, Split
from unbraid.errors import DataError
from unbraid.files.names import printable

SPLITS: tuple[Split, ...] = ("train", "valid", "test")

SPLIT_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "tr", "training"),
    "valid": ("valid", "val", "validation", "cv", "dev"),
    "test": ("test", "tt", "testing"),
}
"""What people call the folders of the splits."""

MIXTURE_NAMES = ("mixture", "mix")


class NoSplitError(DataError):
    """The data set is there and this split of it is not."""


@dataclass(frozen=True)
class Layout:
    """One known form of data set."""

    name: str

    about: str
    """One line: what the folder looks like."""

    find: Callable[[Path], Path | None]
    """Given a folder (or a list), the one in which a data set of this layout begins: itself or just below; else None.

    Raises DataError where several forms of it stand side by side and one has to be named.
    """

    open: Callable[[Path, Split, frozenset[str]], Dataset]
    """Opens one split, given that folder and the wanted options. Raises NoSplitError if it has no such split."""

    options: Mapping[str, str] = field(default_factory=dict)
    """Per option, what it changes; written after the name and a colon, as in `librimix:noisy`."""

    def qualified(self, options: Iterable[str]) -> str:
        """The name with its options, as users write it."""
        chosen = ",".join(option for option in self.options if option in set(options))
        return f"{self.name}:{chosen}" if chosen else self.name


def split_folder(root: Path, split: Split) -> Path | None:
    """The folder of that split, whatever it is called."""
    return next((root / name for name in SPLIT_FOLDERS[split] if (root / name).is_dir()), None)


def need_split_folder(root: Path, split: Split) -> Path:
    folder = split_folder(root, split)
    if folder is None:
        there = [one for one in SPLITS if split_folder(root, one)]
        raise NoSplitError(
            f"has no folder {SPLIT_FOLDERS[split][0]}/ for the split '{split}'"
            f" (it has {', '.join(there) or 'none of train, valid and test'})",
            subject=f"'{printable(root)}'",
            remedy="name the folder above, or another split",
        )
    return folder


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, hidden ones left out."""
    return [path for path in _entries(folder) if path.is_dir()]


def list_audio(folder: Path) -> list[Path]:
    """The recordings in a folder, sorted by name, hidden ones left out."""
    return [path for path in _entries(folder) if is_audio(path)]


def is_audio(path: Path) -> bool:
    return path.suffix.lower().removeprefix(".") in AUDIO_EXTENSIONS


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(
            f"the folder '{printable(folder)}' cannot be read ({error.strerror})", remedy="check it"
        ) from error


def find_below(
    root: Path, is_it: Callable[[Path], bool], descend: frozenset[str] = frozenset(), depth: int = 4
) -> Path | None:
    """The one folder at `root` or below folders called as in `descend` of which `is_it` holds.

    Several make a DataError that lists them: which one is meant is for the user to say.
    """
    found = list(_search(root, is_it, descend, depth))
    if len(found) > 1:
        names = ", ".join(sorted(printable(path.relative_to(root)) for path in found))
        raise DataError(
            "holds several forms of the data set",
            subject=f"'{printable(root)}'",
            remedy=f"name the folder of one ({names})",
        )
    return found[0] if found else None


def _search(root: Path, is_it: Callable[[Path], bool], descend: frozenset[str], depth: int) -> Iterable[Path]:
    if is_it(root):
        yield root
    elif depth > 0:
        for folder in list_folders(root):
            if folder.name.lower() in descend:
                yield from _search(folder, is_it, descend, depth - 1)


def _bytes(name: str) -> bytes:
    """Of a name from a disk, which need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def share_out(names: Iterable[str]) -> dict[str, Split]:
    """A split for each name where the data set has none: a tenth each, at least one, to valid and test.

    Decided by a hash of the name, so that it is the same on every machine, and adding a song moves at most one other
    across each border. ours: no paper says how.
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(_bytes(f"unbraid/{name}")).digest())
    share = max(1, round(len(ranked) / 10))
    splits: dict[str, Split] = dict.fromkeys(ranked, "train")
    if len(ranked) >= 2:
        splits.update(dict.fromkeys(ranked[:share], "valid"))
    if len(ranked) >= 3:
        splits.update(dict.fromkeys(ranked[-share:], "test"))
    return splits
