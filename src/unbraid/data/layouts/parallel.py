"""Mixtures of speakers in parallel folders: mixture, speakers and noise under one name, in one folder each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from unbraid.data.clips import open_clip, open_clips
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.layouts.layout import NoSplitError, is_audio
from unbraid.errors import DataError
from unbraid.files.names import printable

STEPS = frozenset(
    {
        *("wav8k", "wav16k", "min", "max", "audio", "data", "2speakers", "3speakers", "2speakers_reverb"),
        *("wsj0-mix", "wsj0_mix", "wsj0-2mix", "wsj0-3mix", "wham", "wham_original", "whamr", "whamr_original"),
        *("lrs2-2mix", "lrs2_2mix", "lrs2_rebuild", "libri2mix", "libri3mix", "minilibrimix"),
    }
)
"""Folders that may lie between the one that is given and the one of the splits."""

Named = Callable[[str], Mapping[str, str]]
"""File name without extension -> labels, such as who speaks."""


def open_mixtures(
    layout: str,
    root: Path,
    split: Split,
    folder: Path,
    mixture: str,
    sources: Mapping[str, str],
    name_speakers: Named = lambda _: {},
    lengths: Mapping[str, int] | None = None,
    mixtures_are_sums: bool = True,
) -> Dataset:
    """One split in `folder`: `mixture` is the folder of the mixtures, `sources` gives the folder of each source.

    Only headers of mixtures are read, or with `lengths` (samples, by name) a single one: the files of one name have the
    same length in every such data set, and `unbraid check-data` looks whether they do.
    """
    names = _names(folder / mixture)
    for source in sources.values():
        lacking = sorted(names.keys() - _names(folder / source).keys())
        if lacking:
            raise DataError(
                f"lacks {len(lacking)} of the {len(names)} files of {mixture}/, such as {lacking[0]}",
                subject=f"'{printable(folder / source)}'",
                remedy="copy or generate the data set again",
            )
    if not names:
        raise NoSplitError(f"holds no recordings for the split '{split}'", subject=f"'{printable(folder / mixture)}'")
    clips = _clips(folder / mixture, sorted(names.values()), lengths or {})
    items = [
        Item(
            clip.path.stem,
            {source: (replace(clip, path=folder / place / clip.path.name),) for source, place in sources.items()},
            clip,
            name_speakers(clip.path.stem),
        )
        for clip in clips
    ]
    speakers = tuple(source for source in sources if source != "noise")
    return Dataset(layout, root, split, speakers, len(speakers) > 1, tuple(items), mixtures_are_sums)


def speaker_folders(folder: Path, ending: str = "") -> dict[str, str]:
    """speaker1 -> s1 and so on, for as many as there are; `ending` follows the number."""
    folders = {}
    while (folder / f"s{len(folders) + 1}{ending}").is_dir():
        folders[f"speaker{len(folders) + 1}"] = f"s{len(folders) + 1}{ending}"
    if not folders:
        raise DataError(
            f"has no folder s1{ending}/ with the first speaker", subject=f"'{printable(folder)}'", remedy="generate it"
        )
    return folders


def _names(folder: Path) -> dict[str, str]:
    """Stem -> file name of the recordings in a folder. There may be 50,000, so nothing is asked about each."""
    if not folder.is_dir():
        raise DataError("does not exist", subject=f"'{printable(folder)}'", remedy="generate this part of the data set")
    return {path.stem: path.name for path in folder.iterdir() if is_audio(path) and not path.name.startswith(".")}


def _clips(folder: Path, names: list[str], lengths: Mapping[str, int]) -> list[Clip]:
    if all(Path(name).stem in lengths for name in names):
        first = open_clip(folder / names[0])
        return [replace(first, path=folder / name, num_samples=lengths[Path(name).stem]) for name in names]
    return open_clips([folder / name for name in names])
