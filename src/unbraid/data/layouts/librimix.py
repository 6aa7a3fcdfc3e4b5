"""Libri2Mix and Libri3Mix (Cosentino et al. 2020), and MiniLibriMix, as their script writes them.

    Libri2Mix/wav8k/min/{train-360,train-100,dev,test}/{mix_clean,mix_both,mix_single,s1,s2,noise}/<mixture>.wav
    Libri2Mix/wav8k/min/metadata/mixture_<subset>_<mix type>.csv
    MiniLibriMix/{train,val}/{mix_clean,mix_both,s1,s2,noise}/, MiniLibriMix/metadata/*.csv

The tables hold absolute paths of the machine that generated the set, so that only names and lengths are taken from
them. They are not needed. Speakers are told by the names: <speaker>-<chapter>-<utterance>_<speaker>-….
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from unbraid.data.items import Dataset, Split
from unbraid.data.layouts.csv_list import read_rows
from unbraid.data.layouts.layout import Layout, NoSplitError, find_below
from unbraid.data.layouts.parallel import STEPS, open_mixtures
from unbraid.data.layouts.wham import TASKS, sources_of
from unbraid.files.names import printable

_SUBSETS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train-360", "train-100", "train"),
    "valid": ("dev", "val"),
    "test": ("test",),
}


def _is_librimix(folder: Path) -> bool:
    """Told from WHAM!, whose splits have other names, by the tables or by the names of the subsets."""
    subsets = [folder / name for names in _SUBSETS.values() for name in names]
    there = [one for one in subsets if (one / "s1").is_dir() and any((one / mix).is_dir() for mix in TASKS.values())]
    return bool(there) and (
        (folder / "metadata").is_dir() or any(one.name.startswith(("train-", "dev")) for one in there)
    )


def find(root: Path) -> Path | None:
    return find_below(root, _is_librimix, STEPS)


def open_librimix(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    task = next((option for option in TASKS if option in options), "clean")
    wanted = [name for name in ("train-360", "train-100") if name in options]
    names = wanted if wanted and split == "train" else _SUBSETS[split]
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        raise NoSplitError(
            f"has no folder {' or '.join(names)} for the split '{split}'", subject=f"'{printable(root)}'"
        )
    sources = sources_of(folder, task)
    return open_mixtures(
        LIBRIMIX.qualified([task, *wanted]),
        root,
        split,
        folder,
        TASKS[task],
        sources,
        name_speakers,
        _read_lengths(root, folder.name, TASKS[task]),
    )


def _read_lengths(root: Path, subset: str, mix: str) -> dict[str, int]:
    """Samples by name, from the table of that subset; the paths in it are only looked at for the name of the file."""
    table = root / "metadata" / f"mixture_{subset}_{mix}.csv"
    if not table.is_file():
        return {}
    lengths = {}
    for row in read_rows(table):
        name = row.get("mixture_ID") or PurePosixPath(row.get("mixture_path", "")).stem
        if (length := _length(row.get("length", ""))) is not None:
            lengths[name] = length
    return lengths


def _length(text: str) -> int | None:
    """pandas writes 12345 or 12345.0; anything else tells nothing, and the file is asked."""
    whole, _, rest = text.partition(".")
    is_length = whole.isascii() and whole.isdigit() and rest.strip("0") == "" and 0 < len(whole) <= 12
    return int(whole) or None if is_length else None


def name_speakers(name: str) -> Mapping[str, str]:
    utterances = name.split("_")
    return {f"speaker{number}": utterance.split("-")[0] for number, utterance in enumerate(utterances, start=1)}


LIBRIMIX = Layout(
    "librimix",
    "Libri2Mix/wav8k/min/{train-360,train-100,dev,test}/{mix_clean,mix_both,mix_single,s1,s2,noise}",
    find,
    open_librimix,
    {
        "clean": "speakers only (mix_clean, the default)",
        "noisy": "speakers and noise (mix_both)",
        "single": "the first speaker and noise (mix_single)",
        "train-360": "train on train-360 (the default if it is there)",
        "train-100": "train on train-100",
    },
)
