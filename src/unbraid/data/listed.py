"""Fixed lists of two-speaker mixtures, for validation and test, rebuilt to the bit from the utterances they name."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from unbraid.data.clips import read_clip
from unbraid.data.corpus import SpeechCorpus
from unbraid.data.items import Clip, Dataset, Example
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


def list_mixtures(corpus: SpeechCorpus, count: int, seed: int) -> list[ListedMixture]:
    """A fixed list: pairs of different speakers, levels within +-5 dB, cut to the shorter utterance.

    Pairs within each collection and across take a third each.
    """
    rng = np.random.default_rng(seed)
    collections = sorted({utterance.collection for utterance in corpus.utterances})
    if len(collections) == 2:
        a, b = collections
        kinds = [(a, a), (b, b), (a, b)]
    else:
        kinds = [("", "")]
    mixtures = []
    for index in range(count):
        pair = []
        while len(pair) < 2:
            wanted = kinds[index % len(kinds)][len(pair)]
            speakers = [
                speaker
                for speaker in corpus.speakers
                if corpus.by_speaker[speaker][0].collection.startswith(wanted)
                and all(speaker != taken.speaker for taken in pair)
            ]
            spoken = corpus.by_speaker[speakers[rng.integers(len(speakers))]]
            utterance = spoken[rng.integers(len(spoken))]
            if utterance.seconds >= 2:
                pair.append(utterance)
        num_samples = min(len(corpus.read(utterance.path)) for utterance in pair)
        signals = np.stack([corpus.read(utterance.path)[:num_samples] / 32768 for utterance in pair])
        difference = rng.uniform(-5, 5)
        gains = 10 ** (np.array([difference, -difference]) / 2 / 20) / _rms(signals)
        gains *= 10 ** (MIXTURE_LEVEL_DB / 20) / _rms((signals * gains[:, None]).sum(axis=0))
        first, second = pair
        kind = first.collection if first.collection == second.collection else "cross"
        mixtures.append(
            ListedMixture(
                name=f"{index:04d}",
                first=first.path,
                second=second.path,
                first_gain=round(float(gains[0]), 6),
                second_gain=round(float(gains[1]), 6),
                num_samples=num_samples,
                collections=kind,
                sexes="".join(sorted(first.sex + second.sex)),
                level_difference_db=round(float(difference), 3),
            )
        )
    return mixtures


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


def build_mixture(corpus: SpeechCorpus, mixture: ListedMixture) -> np.ndarray:
    """References of a listed mixture, (2, sample) float32; their sum is the mixture."""
    return np.stack(
        [
            corpus.read(path)[: mixture.num_samples].astype(np.float32) / 32768 * np.float32(gain)
            for path, gain in ((mixture.first, mixture.first_gain), (mixture.second, mixture.second_gain))
        ]
    )


def find_listed(dataset: Dataset, mixtures: list[ListedMixture]) -> dict[str, Clip]:
    """The clip of every path that the list names, wherever below the data set's root the list's own root lies."""
    clips = [clip for item in dataset.items for clips in item.sources.values() for clip in clips]
    wanted = {path for mixture in mixtures for path in (mixture.first, mixture.second)}
    found: dict[str, Clip] = {}
    for depth in {path.count("/") + 1 for path in wanted}:
        found |= {name: clip for clip in clips if (name := "/".join(clip.path.parts[-depth:])) in wanted}
    if missing := sorted(wanted - set(found)):
        raise DataError(
            f"{dataset.root} lacks {len(missing)} of the utterances of the list in its split '{dataset.split}', such "
            f"as {missing[0]}: name the data set that the list was made from"
        )
    return found


def read_listed(mixture: ListedMixture, clips: dict[str, Clip], spec: ModelSpec) -> Example:
    """A listed mixture at full length; the same bits each time at the utterances' own rate."""
    references = []
    for path, gain in ((mixture.first, mixture.first_gain), (mixture.second, mixture.second_gain)):
        clip = clips[path]
        num_samples = mixture.num_samples * spec.sample_rate // clip.sample_rate
        samples = read_clip(clip, 0, num_samples, spec.sample_rate) * np.float32(gain)
        references.append(np.broadcast_to(samples, (spec.num_channels, num_samples)))
    stacked = torch.from_numpy(np.stack(references))
    return Example(stacked.sum(dim=0), stacked, torch.ones(2, dtype=torch.bool))


def _rms(samples: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(np.square(samples), axis=-1) + 1e-12))
