"""Divide and Remaster, versions 2 (Petermann et al. 2022) and 3 (Watcharasupat et al. 2024): dialogue, music, effects.

    v2   root/{tr,cv,tt}/<number>/{mix,speech,music,sfx}.wav                            44.1 kHz mono, annots.csv beside
    v3   root/audio/{train,val,test}/<clip>/{mixture,speech,music,sfx,sfx_fg,sfx_bg}.flac     48 kHz mono

`root` of v3 is the folder of one language, such as `multi` or `eng`. sfx is the sum of sfx_fg and sfx_bg.
"""

from __future__ import annotations

from pathlib import Path

from unbraid.data.items import Dataset, Split
from unbraid.data.layouts.layout import SPLITS, Layout, find_below, list_folders, need_split_folder, split_folder
from unbraid.data.layouts.songs import has_stems, make_dataset, open_songs_at

CINEMATIC_STEMS = ("dialogue", "music", "effects")
_OWN_NAMES = {"speech": "dialogue", "sfx": "effects"}
_STEPS_V2 = frozenset({"dnr_v2", "dnr", "dnr_16khz"})
_STEPS_V3 = frozenset({"audio", "multi"})


def _is_dnr(folder: Path) -> bool:
    folders = [one for split in SPLITS if (one := split_folder(folder, split)) is not None]
    return any(has_stems(one, "speech", "music", "sfx") for one in folders)


def find_v2(root: Path) -> Path | None:
    found = find_below(root, _is_dnr, _STEPS_V2)
    return found if found is not None and (found / "tr").is_dir() | (found / "tt").is_dir() else None


def find_v3(root: Path) -> Path | None:
    return find_below(root, _is_dnr, _STEPS_V3)


def _open(layout: str, root: Path, split: Split) -> Dataset:
    folders = list_folders(need_split_folder(root, split))
    items = open_songs_at(folders, _OWN_NAMES, leave_out=("sfx_fg", "sfx_bg"))
    return make_dataset(layout, root, split, items, CINEMATIC_STEMS)


def open_v2(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    return _open("dnr-v2", root, split)


def open_v3(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    return _open("dnr-v3", root, split)


DNR_V2 = Layout("dnr-v2", "{tr,cv,tt}/<number>/{mix,speech,music,sfx}.wav", find_v2, open_v2)
DNR_V3 = Layout("dnr-v3", "audio/{train,val,test}/<clip>/{mixture,speech,music,sfx}.flac", find_v3, open_v3)
