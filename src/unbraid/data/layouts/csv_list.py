"""Lists: a CSV file with a heading, or JSON lines, one row per audio file.

    column        meaning
    path          the file, absolute or relative to the list; the only column that must be there
    split         train, valid or test; without the column a hash shares out speakers or tracks, a tenth each to valid
                  and test
    track         which song, mixture or clip the file belongs to; without it each file is an item of its own
    stem          which source it is (vocals, speech, …); "mixture" is the mixture; several rows of one stem are summed
    stream        which audio stream of a container with several; without it the first, 0
    start         first sample in the file, at the file's own rate; without it the beginning
    num_samples   length at the file's own rate; without it to the end
    speaker       who speaks: rows with it form a pool of speech for dynamic mixing

Columns of other names become labels of the item. `manifest.csv` in a folder is such a list; so is a list that is named
itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from unbraid.data.clips import open_clip, open_clips
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.layouts.layout import MIXTURE_NAMES, SPLIT_FOLDERS, Layout, NoSplitError, share_out
from unbraid.data.layouts.songs import MUSIC_STEMS
from unbraid.errors import DataError
from unbraid.files.json_text import JsonError, of_kind, parse_json
from unbraid.files.names import printable

Row = Mapping[str, str]

_OWN_COLUMNS = frozenset({"path", "split", "track", "stem", "start", "num_samples", "stream"})
_NAMES = ("manifest.csv", "manifest.jsonl")
_LISTS = (".csv", ".jsonl")


def find(root: Path) -> Path | None:
    for path in [root, *(root / name for name in _NAMES)]:
        if path.is_file() and path.suffix.lower() in _LISTS and "path" in next(iter(read_rows(path)), {}):
            return path
    return None


def open_table(path: Path, split: Split, options: frozenset[str]) -> Dataset:
    rows = _of_split(list(read_file_rows(path)), split)
    if not rows:
        raise NoSplitError(f"has no rows of the split '{split}'", subject=f"'{printable(path)}'")
    items = make_items(rows, path.parent)
    return dataset_of_items("list", path, split, items)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file or of JSON lines, as text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix.lower() == ".csv":
                for row in csv.DictReader(file):
                    yield {key: value for key, value in row.items() if key and value is not None}
                return
            for line in file:
                if line.strip():
                    row = of_kind(parse_json(line), dict, "line")
                    yield {key: _text(key, value) for key, value in row.items() if value is not None}
    except (OSError, UnicodeDecodeError, csv.Error, JsonError) as error:
        raise DataError(f"the list '{printable(path)}' cannot be read: {error}") from error


def read_file_rows(path: Path) -> Iterator[Row]:
    """The rows of a list of files; each has to name one."""
    for number, row in enumerate(read_rows(path), start=1):
        if not row.get("path"):
            raise DataError(
                f"names no file in its row {number}", subject=f"'{printable(path)}'", remedy="fill in its column path"
            )
        yield row


def _text(key: str, value: object) -> str:
    if isinstance(value, dict | list):
        raise JsonError(f"'{key}' is neither a text nor a number")
    return str(value)


def in_split(row: Row, split: Split) -> bool:
    return row.get("split") in SPLIT_FOLDERS[split]


def _of_split(rows: list[Row], split: Split) -> list[Row]:
    if any("split" in row for row in rows):
        return [row for row in rows if in_split(row, split)]
    groups = [row.get("speaker") or row.get("track") or row["path"] for row in rows]
    shares = share_out(dict.fromkeys(groups))
    return [row for row, group in zip(rows, groups, strict=True) if shares[group] == split]


def make_items(rows: list[Row], folder: Path, stem: str | None = None) -> list[Item]:
    """Items of the rows of one split; rows that name no stem are `stem`, else "speech" with a speaker, else "audio"."""
    clips = _open_rows(rows, folder)
    sources: dict[str, dict[str, list[Clip]]] = {}
    mixtures: dict[str, Clip] = {}
    labels: dict[str, dict[str, str]] = {}
    for row, clip in zip(rows, clips, strict=True):
        track = row.get("track") or (f"{row['path']}@{row['start']}" if row.get("start") else row["path"])
        kind = row.get("stem") or stem or ("speech" if row.get("speaker") else "audio")
        if kind in MIXTURE_NAMES:
            mixtures[track] = clip
            sources.setdefault(track, {})
        else:
            sources.setdefault(track, {}).setdefault(kind, []).append(clip)
        labels.setdefault(track, {}).update({key: row[key] for key in row if key not in _OWN_COLUMNS and row[key]})
        labels[track].setdefault("collection", Path(row["path"]).parts[0] if "/" in row["path"] else "")
    return [
        Item(track, {kind: tuple(parts) for kind, parts in named.items()}, mixtures.get(track), labels[track])
        for track, named in sources.items()
    ]


def _open_rows(rows: list[Row], folder: Path) -> list[Clip]:
    """Many rows may be stretches of one file, which is opened once."""
    places = [(folder / row["path"], row.get("stream") or "0") for row in rows]
    firsts = list(dict.fromkeys(path for path, stream in places if stream == "0"))
    wholes = {(path, "0"): clip for path, clip in zip(firsts, open_clips(firsts), strict=True)}
    for path, stream in places:
        if (path, stream) not in wholes:
            if not (stream.isascii() and stream.isdigit() and len(stream) <= 4):
                raise DataError(f"the column stream holds whole numbers, not '{stream}'")
            wholes[path, stream] = open_clip(path, int(stream))
    return [_stretch(wholes[place], row) for place, row in zip(places, rows, strict=True)]


def _stretch(clip: Clip, row: Row) -> Clip:
    try:
        start = int(row.get("start") or 0)
        num_samples = int(row.get("num_samples") or clip.num_samples - start)
    except ValueError as error:
        raise DataError(f"the columns start and num_samples hold whole numbers of samples: {error}") from error
    if start < 0 or num_samples <= 0 or start + num_samples > clip.num_samples:
        raise DataError(
            f"has {clip.num_samples} samples, and its row asks for {num_samples} from {start}",
            subject=f"'{printable(clip.path)}'",
        )
    return replace(clip, start=start, num_samples=num_samples)


def dataset_of_items(layout: str, root: Path, split: Split, items: list[Item]) -> Dataset:
    """Speakers are exchangeable, everything else is not."""
    there = {source for item in items for source in item.sources}
    order = [source for source in MUSIC_STEMS if source in there]
    sources = (*order, *sorted(there - set(order)))
    exchangeable = all(item.labels.get("speaker") for item in items)
    return Dataset(layout, root, split, tuple(sources), exchangeable, tuple(items))


LIST = Layout("list", "a CSV or JSONL file with a column path (and split, track, stem, speaker, …)", find, open_table)
