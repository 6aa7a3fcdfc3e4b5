"""Fixed lists of two-speaker mixtures, for validation and test, rebuilt to the bit from the utterances they name.

A list is a CSV file with one row per mixture, whose columns are the fields of `ListedMixture`. Lists without noise lack
the last ones.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbraid.data.clips import read_source
from unbraid.data.items import Clip, Dataset, Example, MissingRecordingsError
from unbraid.data.lists.table import ListRow, read_list_rows
from unbraid.files.pending import PendingFile, write_pending
from unbraid.models.contract import ModelSpec

NOISE = "noise"
"""The source of a data set that noise is taken from."""


@dataclass(frozen=True)
class ListedMixture:
    """One two-speaker mixture of a fixed list: which utterances, with which gains, and what kind of pair it is."""

    name: str
    first: str
    second: str
    first_gain: float
    second_gain: float
    num_samples: int
    """Of the mixture, at the rate of the utterances."""
    collections: str
    sexes: str
    level_difference_db: float
    overlap: float | None = None
    """Of the time in which anybody is active, the share in which both are; None where it was not measured."""
    noise: str = ""
    """A recording that sounds besides, if any; whole hundredths of a second of it."""
    noise_from: float = 0.0
    """Where it is read, in seconds."""
    noise_at: float = 0.0
    """Where in the mixture it begins, in seconds."""
    noise_gain: float = 0.0
    noise_below_db: float = 0.0
    """How far it lies below the speakers together."""

    @property
    def parts(self) -> tuple[tuple[str, float], tuple[str, float]]:
        """Path and gain of each speaker's utterance."""
        return (self.first, self.first_gain), (self.second, self.second_gain)

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all recordings that it is made of."""
        return (self.first, self.second, self.noise) if self.noise else (self.first, self.second)


_MOST_SAMPLES = 1 << 32
"""ours: of a mixture; what is longer is a damaged list."""

_NOISE_FIELDS = ("noise", "noise_from", "noise_at", "noise_gain", "noise_below_db")


def write_list(mixtures: list[ListedMixture], path: Path) -> None:
    noisy = any(mixture.noise for mixture in mixtures)
    columns = [field.name for field in fields(ListedMixture) if noisy or field.name not in _NOISE_FIELDS]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(mixture) for mixture in mixtures)
    write_pending(PendingFile(path), text.getvalue().encode())


def read_list(path: Path) -> list[ListedMixture]:
    """DataError where it is another table or holds what cannot be."""
    return [_read_row(row) for row in read_list_rows(path)]


def _read_row(row: ListRow) -> ListedMixture:
    noise: dict[str, Any] = {}
    if row.has("noise"):
        noise = {
            "noise": row.text("noise"),
            "noise_from": row.number("noise_from", least=0.0),
            "noise_at": row.number("noise_at", least=0.0),
            "noise_gain": row.number("noise_gain"),
            "noise_below_db": row.number("noise_below_db"),
        }
    return ListedMixture(
        name=row.text("name"),
        first=row.text("first"),
        second=row.text("second"),
        first_gain=row.number("first_gain"),
        second_gain=row.number("second_gain"),
        num_samples=row.count("num_samples", most=_MOST_SAMPLES),
        collections=row.text("collections"),
        sexes=row.text("sexes"),
        level_difference_db=row.number("level_difference_db"),
        overlap=row.number("overlap") if row.has("overlap") else None,
        **noise,
    )


def holds_noise(path: Path) -> bool:
    """Whether the list has noise behind its speakers."""
    return any(mixture.noise for mixture in read_list(path))


def find_listed(dataset: Dataset, mixtures: list[ListedMixture]) -> dict[str, Clip]:
    """The clip of every path that the list names, wherever below the data set's root the list's own root lies."""
    clips = [clip for item in dataset.items for clips in item.sources.values() for clip in clips]
    wanted = {path for mixture in mixtures for path in mixture.paths}
    found: dict[str, Clip] = {}
    for depth in {path.count("/") + 1 for path in wanted}:
        found |= {name: clip for clip in clips if (name := "/".join(clip.path.parts[-depth:])) in wanted}
    if missing := sorted(wanted - set(found)):
        raise MissingRecordingsError(
            f"lacks {len(missing)} of the {len(wanted)} recordings of the list, such as {missing[0]}",
            subject=str(dataset.root),
            remedy="name the data set that the list was made from",
            has_some=bool(found),
        )
    return found


def read_speaker(
    mixture: ListedMixture, number: int, clips: Mapping[str, Clip], sample_rate: int, num_channels: int = 1
) -> np.ndarray:
    """(channel, sample) float32: one of the speakers, 0 or 1, at full length."""
    path, gain = mixture.parts[number]
    num_samples = mixture.num_samples * sample_rate // clips[path].sample_rate
    return read_source([clips[path]], 0, num_samples, sample_rate, num_channels) * np.float32(gain)


def read_noise(
    mixture: ListedMixture, clips: Mapping[str, Clip], sample_rate: int, num_channels: int = 1
) -> np.ndarray:
    """(channel, sample) float32: the noise of a noisy mixture, as long as it; silence where the recording is not."""
    num_samples = mixture.num_samples * sample_rate // clips[mixture.first].sample_rate
    clip, at = clips[mixture.noise], round(mixture.noise_at * sample_rate)
    length = max(0, min(num_samples - at, clip.num_samples * sample_rate // clip.sample_rate))
    samples = read_source([clip], round(mixture.noise_from * sample_rate), length, sample_rate, num_channels)
    placed = np.zeros((num_channels, num_samples), np.float32)
    placed[:, at : at + length] = samples * np.float32(mixture.noise_gain)
    return placed


def read_listed(mixture: ListedMixture, clips: Mapping[str, Clip], spec: ModelSpec) -> Example:
    """A listed mixture at full length; the same bits each time at the utterances' own rate."""
    rate, num_channels = spec.sample_rate, spec.num_channels
    references = torch.from_numpy(
        np.stack([read_speaker(mixture, number, clips, rate, num_channels) for number in range(2)])
    )
    total = references.sum(dim=0)
    if mixture.noise:
        total = total + torch.from_numpy(read_noise(mixture, clips, rate, num_channels))
    return Example(total, references, torch.ones(2, dtype=torch.bool))
