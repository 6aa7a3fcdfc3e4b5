"""What every data set is once its layout has been recognised: items, each with its sources and perhaps its mixture.

A layout (one file each in `data/layouts/`) turns folders and tables into a `Dataset`; mixing, training, checking and
evaluation read nothing else. Nothing here holds audio: a `Clip` says where samples are, and `read_clip` reads a range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from unbraid.errors import DataError
from unbraid.files.names import well_formed

Split = Literal["train", "valid", "test"]

ACCOMPANIMENT = "accompaniment"
"""Source that is all of a song beside its other stems: a whole instrumental, or bass and other of a song whose bass has
no stem of its own."""


@dataclass(frozen=True)
class Clip:
    """One stretch of one audio file."""

    path: Path

    num_samples: int
    """Per channel, at the file's own rate."""

    sample_rate: int
    """Of the file, in Hz."""

    num_channels: int

    start: int = 0
    """First sample of the stretch in the file."""

    stream: int = 0
    """Which audio stream of a container with several, such as MUSDB18's `.stem.mp4`."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


@dataclass(frozen=True)
class Item:
    """A song, a film clip, an utterance, or a mixture of speakers: what lies together in a data set."""

    name: str
    """Unique within a split."""

    sources: Mapping[str, tuple[Clip, ...]]
    """Per source, the clips that sum up to it. A source that is not a key is missing, which is not the same as silent.

    What sounds in the mixture and is nobody's target, such as "noise", is here too."""

    mixture: Clip | None = None
    """The mixture as the data set gives it; None where it is the sum of the sources."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """What is known besides: speaker, sex, collection, and the like."""

    def __post_init__(self) -> None:
        # They are written into scores, tables and pages, and come from the names of files.
        object.__setattr__(self, "name", well_formed(self.name))
        for field_ in ("sources", "labels"):
            if not all(key.isascii() for key in getattr(self, field_)):
                object.__setattr__(self, field_, {well_formed(key): one for key, one in getattr(self, field_).items()})
        if not all(text.isascii() for text in self.labels.values()):
            object.__setattr__(self, "labels", {key: well_formed(text) for key, text in self.labels.items()})


@dataclass(frozen=True)
class Dataset:
    """One split of a data set."""

    layout: str
    """Name of the layout with its options, such as "librimix:noisy"; `open_dataset` takes it."""

    root: Path

    split: Split

    sources: tuple[str, ...]
    """Names of the sources to separate, in the data set's order. Items may lack some, and may hold noise besides.

    Mixtures of speakers have speaker1, speaker2, …; a pool of single utterances has "speech", each item with a label
    "speaker"."""

    exchangeable: bool
    """True for speakers, whose order carries no meaning."""

    items: tuple[Item, ...]

    mixtures_are_sums: bool = True
    """False where the given mixtures hold more than their sources, such as reverberation."""


class MissingRecordingsError(DataError):
    """A data set lacks recordings that a fixed list names."""

    def __init__(self, reason: str, *, subject: str = "", remedy: str = "", has_some: bool) -> None:
        super().__init__(reason, subject=subject, remedy=remedy)
        self.has_some = has_some
        """Whether others of the list are there, so that it is the list's own data set, with holes."""


class Example(NamedTuple):
    """One training or validation example, or, with a leading batch axis on each, a batch of them."""

    mixture: torch.Tensor
    """(channel, sample). Not always the sum of the references: noise and reverberation come on top."""

    references: torch.Tensor
    """(source, channel, sample), in the order of the model's sources."""

    present: torch.Tensor
    """(source,) bool: False where the reference is unknown and must not enter the loss."""
