"""The corpus that the bundled models are trained on: free speech, songs and sounds, each part with its `manifest.csv`.

    root/speech/manifest.csv    path, speaker, sex, split, seconds, licence
    root/music/manifest.csv     path, track, stem, split, seconds, licence, note
    root/fx/manifest.csv        path, set, split, seconds, author, licence

A part can be named itself. For cinematic mixtures (dialogue, music, effects) all three make up independent pools.
"""

from __future__ import annotations

from pathlib import Path

from unbraid.data.items import Dataset, Item, Split
from unbraid.data.layouts.layout import Layout, NoSplitError
from unbraid.data.layouts.tables import Row, dataset_of_items, in_split, make_items, read_rows
from unbraid.errors import DataError

_COLUMNS = {"speech": {"path", "speaker", "split"}, "music": {"path", "track", "stem", "split"}, "fx": {"path", "set"}}
_PARTS = {"speech": "speech", "music": "music", "effects": "fx"}
"""Option -> folder."""


def find(root: Path) -> Path | None:
    """The folder of all parts, or of the one that is named."""
    if any(_is_part(root / part, part) for part in _COLUMNS):
        return root
    return root if any(_is_part(root, part) for part in _COLUMNS) else None


def _is_part(folder: Path, part: str) -> bool:
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return False
    return _COLUMNS[part] <= set(next(iter(read_rows(manifest)), {}))


def open_corpus(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    name = CORPUS.qualified(options)
    if "cinematic" in options:
        return Dataset(name, root, split, ("dialogue", "music", "effects"), False, tuple(_cinematic(root, split)))
    part = next((option for option in _PARTS if option in options), None)
    if part is None:
        part = next(option for option, folder in _PARTS.items() if _folder(root, folder) is not None)
        name = CORPUS.qualified([part])
    return dataset_of_items(name, root, split, _open_part(root, part, split))


def _folder(root: Path, part: str) -> Path | None:
    return next((folder for folder in (root / part, root) if _is_part(folder, part)), None)


def _open_part(root: Path, part: str, split: Split) -> list[Item]:
    folder = _folder(root, _PARTS[part])
    if folder is None:
        raise DataError(f"the corpus at '{root}' has no {_PARTS[part]}/manifest.csv: choose another part than '{part}'")
    rows: list[Row] = [row for row in read_rows(folder / "manifest.csv") if in_split(row, split)]
    if not rows:
        raise NoSplitError(f"'{folder}/manifest.csv' has no rows of the split '{split}'")
    return make_items(rows, folder, part if part != "music" else None)


def _cinematic(root: Path, split: Split) -> list[Item]:
    """Single sources, for mixtures that are made of independent ones. Music is what songs are without their vocals."""
    items = [
        Item(f"dialogue/{item.name}", {"dialogue": item.sources["speech"]}, None, item.labels)
        for item in _open_part(root, "speech", split)
    ]
    for item in _open_part(root, "music", split):
        clips = tuple(clip for stem, parts in item.sources.items() if stem != "vocals" for clip in parts)
        items.append(Item(f"music/{item.name}", {"music": clips}, None, item.labels))
    effects = _open_part(root, "effects", split)
    items += [Item(f"effects/{item.name}", {"effects": item.sources["effects"]}, None, item.labels) for item in effects]
    return items


CORPUS = Layout(
    "corpus",
    "speech/, music/ and fx/ with a manifest.csv each, or one of them",
    find,
    open_corpus,
    {
        "speech": "utterances by speaker (the default where there are any)",
        "music": "songs of stems",
        "effects": "sounds",
        "cinematic": "dialogue, music without vocals, and effects, as independent pools",
    },
)
