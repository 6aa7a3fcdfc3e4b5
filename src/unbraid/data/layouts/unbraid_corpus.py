"""The corpus that the bundled models are trained on: free speech, songs and sounds, each part with its `manifest.csv`.

    root/speech/manifest.csv    path, speaker, sex, split, seconds, licence
    root/music/manifest.csv     path, track, stem, split, seconds, licence, note; whole instrumentals are
                                `accompaniment`
    root/music/rendered*/{train,valid,test}/<song>/<stem>.flac      what `unbraid prepare midi` has made of MIDI files
    root/fx/manifest.csv        path, set, split, seconds, author, licence

A part can be named itself. For cinematic mixtures (dialogue, music, effects) all three make up independent pools. Of
effects there are only two splits: every second recording of `valid` is taken for `test`. For speech in noise the
effects are the noise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unbraid.data.items import ACCOMPANIMENT, Dataset, Item, Split
from unbraid.data.layouts.csv_list import Row, dataset_of_items, in_split, make_items, read_file_rows, read_rows
from unbraid.data.layouts.layout import Layout, NoSplitError, list_folders, split_folder
from unbraid.data.layouts.songs import open_songs_at
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
    if "noisy" in options:
        return Dataset(name, root, split, ("speech",), True, tuple(_noisy(root, split)))
    part = next((option for option in _PARTS if option in options), None)
    if part is None:
        part = next(option for option, folder in _PARTS.items() if _folder(root, folder) is not None)
        name = CORPUS.qualified([part])
    items = _open_part(root, part, split)
    if part == "music":
        items = _songs_of_stems(items, root, split)
    dataset = dataset_of_items(name, root, split, items)
    # An accompaniment sounds in the mixture of its song and is nobody's target.
    return replace(dataset, sources=tuple(source for source in dataset.sources if source != ACCOMPANIMENT))


def _songs_of_stems(items: list[Item], root: Path, split: Split) -> list[Item]:
    """Without whole instrumentals; and `other` of a recorded song without a bass stem is what it is, both in one."""
    songs = []
    for item in items:
        stems = dict(item.sources)
        if set(stems) == {ACCOMPANIMENT}:
            continue
        if "bass" not in stems and "other" in stems and not _is_rendered(item):
            stems[ACCOMPANIMENT] = stems.pop("other")
        songs.append(replace(item, sources=stems))
    if not songs:
        raise NoSplitError(f"'{root}' has no songs of stems in the split '{split}'")
    return songs


def _is_rendered(item: Item) -> bool:
    """A rendered song lacks what its piece does not have."""
    return item.name.startswith("rendered")


def _folder(root: Path, part: str) -> Path | None:
    return next((folder for folder in (root / part, root) if _is_part(folder, part)), None)


def _open_part(root: Path, part: str, split: Split) -> list[Item]:
    folder = _folder(root, _PARTS[part])
    if folder is None:
        raise DataError(
            f"the corpus at '{root}' has no {_PARTS[part]}/manifest.csv", remedy=f"choose another part than '{part}'"
        )
    rows: list[Row] = list(read_file_rows(folder / "manifest.csv"))
    if part == "effects" and not any(in_split(row, "test") for row in rows):
        rows = _share_valid(rows)
    items = make_items([row for row in rows if in_split(row, split)], folder, part if part != "music" else None)
    if part == "music":
        items += _rendered(folder, split)
    if not items:
        rendered = ", and no songs are rendered: see `unbraid prepare midi`" if part == "music" else ""
        raise NoSplitError(f"'{folder}/manifest.csv' has no rows of the split '{split}'{rendered}")
    return items


def _share_valid(rows: list[Row]) -> list[Row]:
    """Every second recording of the validation split goes to the test split, with all clips that were cut from it."""
    recordings = sorted({_recording(row) for row in rows if in_split(row, "valid")})
    test = set(recordings[1::2])
    return [{**row, "split": "test"} if in_split(row, "valid") and _recording(row) in test else row for row in rows]


def _recording(row: Row) -> str:
    """ESC names a clip <fold>-<recording>-<take>; folder and name without the take stand for what it was cut from."""
    path = Path(row["path"])
    name, _, take = path.stem.rpartition("-")
    return str(path.parent / name) if name and len(take) == 1 else str(path)


def _rendered(folder: Path, split: Split) -> list[Item]:
    """Songs made of MIDI files, with one sound font per folder."""
    fonts = [font for font in list_folders(folder) if font.name.startswith("rendered")]
    items = []
    for font in fonts:
        if (songs := split_folder(font, split)) is not None:
            made = open_songs_at(list_folders(songs))
            items += [
                replace(
                    item, name=f"{font.name}/{songs.name}/{item.name}", labels={**item.labels, "collection": font.name}
                )
                for item in made
            ]
    return items


def _cinematic(root: Path, split: Split) -> list[Item]:
    """Single sources, for mixtures that are made of independent ones. Music is what songs are without their vocals."""
    items = [
        Item(f"dialogue/{item.name}", {"dialogue": item.sources["speech"]}, None, item.labels)
        for item in _open_part(root, "speech", split)
    ]
    for item in _open_part(root, "music", split):
        stems = {stem: clips for stem, clips in item.sources.items() if stem != "vocals"}
        whole = tuple(clip for clips in stems.values() for clip in clips)
        items.append(Item(f"music/{item.name}", {"music": whole}, None, item.labels))
        if not _is_rendered(item) and len(stems) > 1:
            # ours: recorded songs are few beside rendered ones, so that their instruments count alone as well.
            items += [
                Item(f"music/{item.name}/{stem}", {"music": clips}, None, item.labels) for stem, clips in stems.items()
            ]
    effects = _open_part(root, "effects", split)
    items += [Item(f"effects/{item.name}", {"effects": item.sources["effects"]}, None, item.labels) for item in effects]
    return items


def _noisy(root: Path, split: Split) -> list[Item]:
    """Utterances, and besides them what may sound behind them."""
    sounds = _open_part(root, "effects", split)
    noise = [Item(f"noise/{item.name}", {"noise": item.sources["effects"]}, None, item.labels) for item in sounds]
    return [*_open_part(root, "speech", split), *noise]


CORPUS = Layout(
    "corpus",
    "speech/, music/ and fx/ with a manifest.csv each, or one of them",
    find,
    open_corpus,
    {
        "speech": "utterances by speaker (the default where there are any)",
        "music": "songs of stems; whole instrumentals are for film sound only",
        "effects": "sounds",
        "noisy": "utterances by speaker, and sounds as noise",
        "cinematic": "dialogue, music without vocals, and effects, as independent pools",
    },
)
