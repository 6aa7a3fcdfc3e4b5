"""WSJ0 itself (LDC93S6A), for mixing on the fly: one folder per speaker.

    wsj0/{si_tr_s,si_dt_05,si_et_05}/<speaker>/<utterance>.wav

The LDC's own files are SPHERE (.wv1), compressed with shorten, which nothing here reads: `sph2pipe -f wav IN OUT`
makes a .wav of each. `unbraid prepare resample` copies it to 8 kHz.
WSJ0-2mix takes its training and validation utterances both from si_tr_s; here si_dt_05 validates and si_et_05 tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unbraid.data.clips import open_clips
from unbraid.data.items import Dataset, Item, Split
from unbraid.data.layouts.layout import Layout, NoSplitError, find_below, list_folders
from unbraid.errors import DataError
from unbraid.files.names import printable

_FOLDERS: Mapping[Split, str] = {"train": "si_tr_s", "valid": "si_dt_05", "test": "si_et_05"}
_STEPS = frozenset({"wsj0", "csr_1", "csr_1_senn_d1", "11-1.1", "wav8k", "wav16k"})


def find(root: Path) -> Path | None:
    return find_below(root, lambda folder: any((folder / name).is_dir() for name in _FOLDERS.values()), _STEPS)


def open_wsj0(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    folder = root / _FOLDERS[split]
    if not folder.is_dir():
        raise NoSplitError(f"has no folder {_FOLDERS[split]} for the split '{split}'", subject=f"'{printable(root)}'")
    files: list[Path] = []
    for speaker in list_folders(folder):
        named = sorted(path for path in speaker.iterdir() if path.suffix.lower() in (".wav", ".flac"))
        spheres = [path for path in speaker.iterdir() if path.suffix.lower() in (".wv1", ".sph")]
        if spheres and not named:
            raise DataError(
                "is SPHERE as it comes from the LDC",
                subject=f"'{printable(spheres[0])}'",
                remedy="make .wav files of all, with  sph2pipe -f wav IN OUT",
            )
        files += named
    items = [
        Item(f"{clip.path.parent.name}/{clip.path.stem}", {"speech": (clip,)}, None, {"speaker": clip.path.stem[:3]})
        for clip in open_clips(files)
    ]
    if not items:
        raise NoSplitError("holds no .wav files in folders of speakers", subject=f"'{printable(folder)}'")
    return Dataset("wsj0", root, split, ("speech",), True, tuple(items))


WSJ0 = Layout("wsj0", "{si_tr_s,si_dt_05,si_et_05}/<speaker>/<utterance>.wav", find, open_wsj0)
