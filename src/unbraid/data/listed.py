"""Fixed lists of two-speaker mixtures, for validation and test, rebuilt to the bit from the utterances they name."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from unbraid.data.clips import read_source
from unbraid.data.items import Clip, Dataset, Example, Item
from unbraid.data.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.errors import DataError
from unbraid.models.contract import ModelSpec


@dataclass(frozen=True)
class ListedMixture:
    """One two-speaker mixture of a fixed list: which utterances, with which gains, and what kind of pair it is."""

    name: str
    first: str
    second: str
    first_gain: float
    second_gain: float
    num_samples: int
    collections: str
    sexes: str
    level_difference_db: float

    @property
    def parts(self) -> tuple[tuple[str, float], tuple[str, float]]:
        """Path and gain of each speaker's utterance."""
        return (self.first, self.first_gain), (self.second, self.second_gain)


def list_mixtures(dataset: Dataset, count: int, seed: int) -> list[ListedMixture]:
    """A fixed list: pairs of different speakers, levels within +-5 dB, cut to the shorter utterance.

    Pairs within each collection and across take a third each. Needs items of one utterance with the label speaker and,
    where known, sex and collection.
    """
    generator = np.random.default_rng(seed)
    spoken: dict[str, list[Item]] = {}
    for item in dataset.items:
        if "speaker" in item.labels and item.sources:
            spoken.setdefault(item.labels["speaker"], []).append(item)
    if len(spoken) < 2:
        raise DataError(f"{dataset.root} has {len(spoken)} speakers in the split '{dataset.split}'; two are needed")
    collections = sorted({_label(item, "collection") for items in spoken.values() for item in items})
    if len(collections) == 2:
        a, b = collections
        kinds = [(a, a), (b, b), (a, b)]
    else:
        kinds = [("", "")]
    mixtures = []
    for index in range(count):
        pair: list[Item] = []
        while len(pair) < 2:
            wanted = kinds[index % len(kinds)][len(pair)]
            taken = {item.labels["speaker"] for item in pair}
            speakers = [
                speaker
                for speaker in sorted(spoken)
                if _label(spoken[speaker][0], "collection").startswith(wanted) and speaker not in taken
            ]
            said = spoken[speakers[generator.integers(len(speakers))]]
            item = said[generator.integers(len(said))]
            if _clip(item).seconds >= 2:
                pair.append(item)
        difference = generator.uniform(-5, 5)
        mixtures.append(_list_pair(dataset, f"{index:04d}", pair[0], pair[1], float(difference)))
    return mixtures


def _list_pair(dataset: Dataset, name: str, first: Item, second: Item, difference_db: float) -> ListedMixture:
    clips = _clip(first), _clip(second)
    if clips[0].sample_rate != clips[1].sample_rate:
        raise DataError(
            f"{clips[0].path} and {clips[1].path} have different sample rates: resample one, then list them"
        )
    num_samples = min(clip.num_samples for clip in clips)
    signals = np.concatenate([read_source([clip], 0, num_samples, clip.sample_rate, 1) for clip in clips])
    signals = signals.astype(np.float64)
    gains = 10 ** (np.array([difference_db, -difference_db]) / 2 / 20) / _rms(signals)
    gains *= 10 ** (MIXTURE_LEVEL_DB / 20) / _rms((signals * gains[:, None]).sum(axis=0))
    alike = _label(first, "collection") == _label(second, "collection")
    return ListedMixture(
        name=name,
        first=_path_in_list(dataset, first),
        second=_path_in_list(dataset, second),
        first_gain=round(float(gains[0]), 6),
        second_gain=round(float(gains[1]), 6),
        num_samples=num_samples,
        collections=_label(first, "collection") if alike else "cross",
        sexes="".join(sorted(_label(first, "sex") + _label(second, "sex"))),
        level_difference_db=round(difference_db, 3),
    )


def _clip(item: Item) -> Clip:
    return next(iter(item.sources.values()))[0]


def _label(item: Item, name: str) -> str:
    return item.labels.get(name, "")


def _path_in_list(dataset: Dataset, item: Item) -> str:
    """As the data set's own table has it, or below its root."""
    path = _clip(item).path
    return item.name if path.as_posix().endswith(f"/{item.name}") else path.relative_to(dataset.root).as_posix()


def write_list(mixtures: list[ListedMixture], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ListedMixture)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(mixture) for mixture in mixtures)


def read_list(path: Path) -> list[ListedMixture]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            ListedMixture(
                name=row["name"],
                first=row["first"],
                second=row["second"],
                first_gain=float(row["first_gain"]),
                second_gain=float(row["second_gain"]),
                num_samples=int(row["num_samples"]),
                collections=row["collections"],
                sexes=row["sexes"],
                level_difference_db=float(row["level_difference_db"]),
            )
            for row in csv.DictReader(file)
        ]


def find_listed(dataset: Dataset, mixtures: list[ListedMixture]) -> dict[str, Clip]:
    """The clip of every path that the list names, wherever below the data set's root the list's own root lies."""
    clips = [clip for item in dataset.items for clips in item.sources.values() for clip in clips]
    wanted = {path for mixture in mixtures for path, _ in mixture.parts}
    found: dict[str, Clip] = {}
    for depth in {path.count("/") + 1 for path in wanted}:
        found |= {name: clip for clip in clips if (name := "/".join(clip.path.parts[-depth:])) in wanted}
    if missing := sorted(wanted - set(found)):
        raise DataError(
            f"{dataset.root} lacks {len(missing)} of the utterances of the list, such as {missing[0]}: name the data "
            "set that the list was made from"
        )
    return found


def read_listed(mixture: ListedMixture, clips: dict[str, Clip], spec: ModelSpec) -> Example:
    """A listed mixture at full length; the same bits each time at the utterances' own rate."""
    rate, num_channels = spec.sample_rate, spec.num_channels
    num_samples = mixture.num_samples * rate // clips[mixture.first].sample_rate
    speakers = [
        read_source([clips[path]], 0, num_samples, rate, num_channels) * np.float32(gain)
        for path, gain in mixture.parts
    ]
    references = torch.from_numpy(np.stack(speakers))
    return Example(references.sum(dim=0), references, torch.ones(2, dtype=torch.bool))


def _rms(samples: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(np.square(samples), axis=-1) + 1e-12))
