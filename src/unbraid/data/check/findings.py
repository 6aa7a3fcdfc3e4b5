"""What can be wrong with a data set, and what to do about each kind of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unbraid.data.items import Split

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    severity: Severity
    title: str
    """What is listed under it."""
    advice: str


KINDS: Mapping[str, Kind] = {
    "unreadable": Kind("error", "files that cannot be read", "get other copies, or remove the items they are in"),
    "truncated": Kind("error", "files that end before their header says", "copy them again"),
    "not-numbers": Kind("error", "files with NaN or infinite samples", "render them again, or remove the items"),
    "leak": Kind(
        "error",
        "recordings in more than one split",
        "leave each in one split only: scores on what was trained on mean nothing",
    ),
    "unequal-lengths": Kind(
        "error", "items with files of different lengths", "export all stems of a song from start to end"
    ),
    "unequal-rates": Kind(
        "error", "items with files of different sample rates", "bring them to one with `unbraid prepare resample`"
    ),
    "unrelated-mixture": Kind(
        "error",
        "mixtures that are not the sum of their sources",
        "remove the mixture file (the sum is then the mixture), or export the stems of that very mixture",
    ),
    "inexact-mixture": Kind(
        "warning",
        "mixtures that are only nearly the sum of their sources",
        "models trained on sums will do, but even perfect estimates miss the mixture by that; effects on the sum are "
        "the usual cause: export without them, or remove the mixture file",
    ),
    "silent": Kind(
        "warning",
        "sources that are silent throughout",
        "if the song has none, keep it (a model learns to give silence); if the stem is not known, remove the file, so "
        "that it counts as missing",
    ),
    "missing-stems": Kind(
        "warning",
        "items that lack sources which others have",
        "that is fine where the source is part of another stem; where the song has none, a silent file says so",
    ),
    "clipping": Kind(
        "warning", "files that clip", "export them 3 dB lower or as float; a model learns the distortion as part of it"
    ),
    "repeated": Kind("warning", "recordings that are there more than once in a split", "remove the copies"),
    "shared-speakers": Kind(
        "warning",
        "speakers in more than one split",
        "scores then say little about strangers (WSJ0-mix is so by design between training and validation)",
    ),
    "mixed-rates": Kind(
        "warning",
        "different sample rates",
        "they are resampled while reading, which takes most of the time: `unbraid prepare resample` does it once; and "
        "what was recorded at a low rate has no treble, which gives a source away",
    ),
    "mixed-channels": Kind(
        "warning", "different numbers of channels", "mono files sound in every channel; check they should"
    ),
    "slow-format": Kind(
        "warning",
        "files in a format that cannot be read from the middle",
        "convert them to FLAC: each example now decodes a file from its start",
    ),
    "no-split": Kind("warning", "splits that are not there", "training needs train and valid, evaluation needs test"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be."""

    kind: str
    """A key of KINDS."""
    place: str
    """The file or item."""
    detail: str = ""
    split: Split | None = None

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity
