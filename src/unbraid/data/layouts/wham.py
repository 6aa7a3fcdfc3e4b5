"""WHAM! (Wichern et al. 2019) and WHAMR! (Maciejewski et al. 2020): WSJ0-2mix in real noise, and in rooms.

    wham/wav8k/min/{tr,cv,tt}/{mix_both,mix_clean,mix_single,s1,s2,noise}/*.wav
    whamr/wav8k/min/{tr,cv,tt}/{mix_both_reverb,…,s1_anechoic,s2_anechoic,s1_reverb,s2_reverb,noise}/*.wav

The speakers to find in WHAMR! are anechoic in every split, also where the mixture is reverberant.
"""

from __future__ import annotations

from pathlib import Path

from unbraid.data.items import Dataset, Split
from unbraid.data.layouts.layout import SPLITS, Layout, find_below, need_split_folder, split_folder
from unbraid.data.layouts.parallel import STEPS, open_mixtures, speaker_folders
from unbraid.data.layouts.wsj0_mix import name_speakers

TASKS = {"noisy": "mix_both", "clean": "mix_clean", "single": "mix_single"}
"""Option -> which mixtures."""


def _has(folder: Path, mixtures: tuple[str, ...], source: str) -> bool:
    there = [one for split in SPLITS if (one := split_folder(folder, split)) is not None]
    return any((one / source).is_dir() and any((one / mix).is_dir() for mix in mixtures) for one in there)


def _is_wham(folder: Path) -> bool:
    return _has(folder, ("mix_both", "mix_clean", "mix_single"), "s1")


def _is_whamr(folder: Path) -> bool:
    return _has(folder, ("mix_both_reverb", "mix_clean_reverb", "mix_both_anechoic"), "s1_anechoic")


def find_wham(root: Path) -> Path | None:
    return find_below(root, _is_wham, STEPS)


def find_whamr(root: Path) -> Path | None:
    return find_below(root, _is_whamr, STEPS)


def open_wham(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    task = next((option for option in TASKS if option in options), "noisy")
    folder = need_split_folder(root, split)
    sources = sources_of(folder, task)
    return open_mixtures(f"wham:{task}", root, split, folder, TASKS[task], sources, name_speakers)


def open_whamr(root: Path, split: Split, options: frozenset[str]) -> Dataset:
    task = next((option for option in TASKS if option in options), "noisy")
    room = "anechoic" if "anechoic" in options else "reverb"
    folder = need_split_folder(root, split)
    sources = sources_of(folder, task, "_anechoic")
    name = WHAMR.qualified([task, "anechoic"] if room == "anechoic" else [task])
    mixture = f"{TASKS[task]}_{room}"
    return open_mixtures(
        name, root, split, folder, mixture, sources, name_speakers, mixtures_are_sums=room == "anechoic"
    )


def sources_of(folder: Path, task: str, ending: str = "") -> dict[str, str]:
    """Which folder each source of the mixtures is in: the first speaker alone, or all, and the noise."""
    speakers = speaker_folders(folder, ending)
    if task == "clean":
        return speakers
    if task == "single":
        speakers = {"speaker1": speakers["speaker1"]}
    return {**speakers, "noise": "noise"}


_OPTIONS = {
    "noisy": "both speakers and noise (mix_both, the default)",
    "clean": "both speakers (mix_clean)",
    "single": "the first speaker and noise (mix_single)",
}
WHAM = Layout(
    "wham", "wav8k/min/{tr,cv,tt}/{mix_both,mix_clean,mix_single,s1,s2,noise}", find_wham, open_wham, _OPTIONS
)
WHAMR = Layout(
    "whamr",
    "wav8k/min/{tr,cv,tt}/{mix_both_reverb,s1_anechoic,s2_anechoic,noise,…}",
    find_whamr,
    open_whamr,
    {**_OPTIONS, "anechoic": "mixtures without the room, for reverberant ones"},
)
