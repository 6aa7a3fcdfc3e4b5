"""MoisesDB (Pereira et al. 2023): 240 songs, each stem of several tracks.

    moisesdb_v0.1/<song id>/data.json
    moisesdb_v0.1/<song id>/<stem>/<track id>.wav

Tracks of one stem are summed; mono ones sound in both channels. There is no mixture: it is the sum of all tracks. The
data set has no splits, so songs are shared out by a hash of their id. ours: no paper says how.
"""

from __future__ import annotations

from pathlib import Path

from unbraid.data.clips import open_clips
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.layouts.layout import Layout, find_below, list_folders, share_out
from unbraid.data.layouts.songs import MUSIC_STEMS, make_dataset
from unbraid.errors import DataError
from unbraid.files.json_text import JsonError, entries, member, read_json
from unbraid.files.names import printable

ALL_STEMS = (
    *("vocals", "drums", "bass", "guitar", "piano", "other_keys", "other_plucked", "bowed_strings", "wind"),
    *("percussion", "other"),
)


def _is_moisesdb(folder: Path) -> bool:
    return any((song / "data.json").is_file() for song in list_folders(folder))


def find(root: Path) -> Path | None:
    return find_below(root, _is_moisesdb, frozenset({"moisesdb", "moisesdb_v0.1"}))


def open_moisesdb(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    songs = [song for song in list_folders(root) if (song / "data.json").is_file()]
    shares = share_out(song.name for song in songs)
    items = [_open_song(song, "all" in options) for song in songs if shares[song.name] == split]
    return make_dataset(MOISESDB.qualified(options), root, split, items, ALL_STEMS if "all" in options else MUSIC_STEMS)


def _open_song(song: Path, all_stems: bool) -> Item:
    try:
        facts = read_json(song / "data.json")
        tracks = [
            (name, song / name / f"{member(track, 'id', str)}.{member(track, 'extension', str)}")
            for stem in entries(facts, "stems", dict)
            for name in [member(stem, "stemName", str)]
            for track in entries(stem, "tracks", dict)
        ]
    except (OSError, JsonError) as error:
        raise DataError(
            f"is not as MoisesDB has it ({error})", subject=f"'{printable(song / 'data.json')}'", remedy="copy it again"
        ) from error
    sources: dict[str, list[Clip]] = {}
    for (stem, _), clip in zip(tracks, open_clips([path for _, path in tracks]), strict=True):
        kind = stem if all_stems or stem in MUSIC_STEMS else "other"
        sources.setdefault(kind, []).append(clip)
    labels = {key: str(facts[key]) for key in ("artist", "song", "genre") if facts.get(key)}
    return Item(song.name, {kind: tuple(clips) for kind, clips in sources.items()}, None, labels)


MOISESDB = Layout(
    "moisesdb",
    "moisesdb_v0.1/<song id>/data.json and <stem>/<track id>.wav",
    find,
    open_moisesdb,
    {"all": "all eleven stems; without it vocals, drums, bass and other, which is the rest"},
)
