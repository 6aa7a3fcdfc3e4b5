"""Mixtures of speakers, made on the fly for training and rebuilt exactly from a list for validation and test.

Every training example is a function of (seed, index) alone. So no two workers draw the same, and a resumed run goes on
with the very next example, without any state to keep.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import soxr

from unbraid.data.corpus import SpeechCorpus
from unbraid.errors import ConfigError, DataError

MIXTURE_LEVEL_DB = -25.0
"""RMS level of a mixture in dB below full scale: that of ordinary speech recordings."""


@dataclass(frozen=True, kw_only=True)
class SpeakerMixing:
    """How training mixtures of speakers are drawn."""

    num_speakers: int = 2

    segment_seconds: float = 3.0

    level_difference_db: float = 5.0
    """Relative levels are uniform within plus and minus this."""

    gain_range_db: tuple[float, float] = (-10.0, 10.0)
    """Gain of the whole mixture about -25 dB below full scale."""

    speed_range: tuple[float, float] = (0.95, 1.05)
    """Each speaker is resampled by a factor from this range, which moves pitch, formants and tempo together."""

    def __post_init__(self) -> None:
        if self.num_speakers < 2:
            raise ConfigError(f"num_speakers is at least 2, not {self.num_speakers}")
        if self.segment_seconds <= 0:
            raise ConfigError(f"segment_seconds is positive, not {self.segment_seconds}")


def draw_mixture(corpus: SpeechCorpus, mixing: SpeakerMixing, seed: int, index: int) -> np.ndarray:
    """References of training example `index`, (source, sample) float32; their sum is the mixture."""
    rng = np.random.default_rng([seed, index])
    num_samples = round(mixing.segment_seconds * corpus.sample_rate)
    speakers = rng.choice(len(corpus.speakers), size=mixing.num_speakers, replace=False)
    references = np.stack([_draw_speech(corpus, corpus.speakers[i], num_samples, mixing, rng) for i in speakers])
    levels = rng.uniform(-mixing.level_difference_db, mixing.level_difference_db, size=mixing.num_speakers) / 2
    references *= (10 ** (levels / 20) / _rms(references))[:, None]
    level = MIXTURE_LEVEL_DB + rng.uniform(*mixing.gain_range_db)
    references *= 10 ** (level / 20) / _rms(references.sum(axis=0))
    return references.astype(np.float32)


def _draw_speech(
    corpus: SpeechCorpus, speaker: str, num_samples: int, mixing: SpeakerMixing, rng: np.random.Generator
) -> np.ndarray:
    """A piece of this speaker's speech that is not silence; shorter utterances stand somewhere in the segment."""
    utterances = corpus.by_speaker[speaker]
    weights = np.array([utterance.seconds for utterance in utterances])
    for _ in range(8):
        samples = corpus.read(utterances[rng.choice(len(utterances), p=weights / weights.sum())].path)
        speed = rng.uniform(*mixing.speed_range)
        wanted = int(num_samples * speed) + 1
        start = rng.integers(0, max(len(samples) - wanted, 0) + 1)
        piece = samples[start : start + wanted].astype(np.float32) / 32768
        if speed != 1:
            piece = soxr.resample(piece, speed * 1000, 1000, quality="LQ")
        piece = piece[:num_samples]
        placed = np.zeros(num_samples, dtype=np.float64)
        offset = rng.integers(0, num_samples - len(piece) + 1)
        placed[offset : offset + len(piece)] = piece
        if _rms(placed) > 1e-3:
            return placed
    raise DataError(f"speaker {speaker} has nothing but silence in {len(utterances)} utterances")


def _rms(samples: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(np.square(samples), axis=-1) + 1e-12))


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
