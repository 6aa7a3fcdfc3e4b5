"""WSJ0-2mix and WSJ0-3mix (Hershey et al. 2016), as the official scripts and their ports write them.

    root/2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/<utterance 1>_<dB 1>_<utterance 2>_<dB 2>.wav
    root/3speakers/…                   /{mix,s1,s2,s3}/…            also wav16k, and max for min

LRS2-2Mix (Li et al. 2023) has the same folders; its name in the path tells it from the others.

    LRS2-2Mix/…/{tr,cv,tt}/{mix,s1,s2}/<clip 1>_<dB 1>_<clip 2>_<dB 2>.wav
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unbraid.data.items import Dataset, Split
from unbraid.data.layouts.layout import SPLITS, Layout, find_below, need_split_folder, split_folder
from unbraid.data.layouts.parallel import STEPS, open_mixtures, speaker_folders


def _is_mix(folder: Path) -> bool:
    """tr/mix and tr/s1, or the same of another split."""
    return any(
        (there / "mix").is_dir() and (there / "s1").is_dir()
        for split in SPLITS
        if (there := split_folder(folder, split)) is not None
    )


def _is_lrs2(path: Path) -> bool:
    return any("lrs2" in part.lower() for part in path.resolve().parts)


def find(root: Path) -> Path | None:
    found = find_below(root, _is_mix, STEPS)
    return found if found is not None and not _is_lrs2(found) else None


def find_lrs2(root: Path) -> Path | None:
    found = find_below(root, _is_mix, STEPS)
    return found if found is not None and _is_lrs2(found) else None


def open_wsj0_mix(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    folder = need_split_folder(root, split)
    return open_mixtures(WSJ0_MIX.name, root, split, folder, "mix", speaker_folders(folder), name_speakers)


def open_lrs2(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    folder = need_split_folder(root, split)
    return open_mixtures(LRS2_MIX.name, root, split, folder, "mix", speaker_folders(folder))


def name_speakers(name: str) -> Mapping[str, str]:
    """The first three letters of an utterance of WSJ0 are its speaker: 019o031a_0.27588_01vo030q_-0.27588."""
    utterances = name.split("_")[::2]
    return {f"speaker{number}": utterance[:3] for number, utterance in enumerate(utterances, start=1)}


WSJ0_MIX = Layout("wsj0-mix", "{2,3}speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}", find, open_wsj0_mix)
LRS2_MIX = Layout("lrs2-mix", "{tr,cv,tt}/{mix,s1,s2} below a folder whose name holds 'LRS2'", find_lrs2, open_lrs2)
