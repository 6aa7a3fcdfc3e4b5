"""Training examples, drawn from a data set by their number alone.

An example is a pure function of (seed, index). So no two workers draw the same, and a resumed run goes on with the very
next example, without any state to keep.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import soxr

from unbraid.data.corpus import SpeechCorpus
from unbraid.data.given import GivenDrawer, GivenMixtures
from unbraid.data.items import Dataset, Example
from unbraid.data.listed import ListedMixture, build_mixture, list_mixtures, read_list, write_list
from unbraid.data.speaker_levels import MIXTURE_LEVEL_DB, BalancedLevels
from unbraid.data.speaker_mixing import SpeakerDrawer, SpeakerMixing
from unbraid.data.stem_mixing import StemDrawer, StemMixing
from unbraid.errors import DataError
from unbraid.models.contract import ModelSpec

__all__ = [
    "MIXTURE_LEVEL_DB",
    "Drawer",
    "GivenMixtures",
    "ListedMixture",
    "Mixing",
    "SpeakerMixing",
    "StemMixing",
    "build_drawer",
    "build_mixture",
    "draw_example",
    "draw_mixture",
    "list_mixtures",
    "read_list",
    "write_list",
]

Mixing = SpeakerMixing | StemMixing | GivenMixtures


@runtime_checkable
class Drawer(Protocol):
    """What a mixing makes of a data set and the spec of a model: it knows where everything is, and draws."""

    def draw(self, seed: int, index: int) -> Example: ...


def build_drawer(dataset: Dataset, mixing: Mixing, spec: ModelSpec) -> Drawer:
    """Looks the data set through once; refuses a model, data and mixing that do not go together."""
    match mixing:
        case SpeakerMixing():
            return SpeakerDrawer(dataset, mixing, spec)
        case StemMixing():
            return StemDrawer(dataset, mixing, spec)
        case GivenMixtures():
            return GivenDrawer(dataset, mixing, spec)


def draw_example(dataset: Dataset, mixing: Mixing, spec: ModelSpec, seed: int, index: int) -> Example:
    """Training example `index` of the run with this seed. For many of them, `build_drawer` once and draw."""
    return build_drawer(dataset, mixing, spec).draw(seed, index)


def draw_mixture(corpus: SpeechCorpus, mixing: SpeakerMixing, seed: int, index: int) -> np.ndarray:
    """References of training example `index`, (source, sample) float32; their sum is the mixture."""
    rng = np.random.default_rng([seed, index])
    num_samples = round(mixing.segment_seconds * corpus.sample_rate)
    speakers = rng.choice(len(corpus.speakers), size=mixing.num_speakers, replace=False)
    references = np.stack([_draw_speech(corpus, corpus.speakers[i], num_samples, mixing, rng) for i in speakers])
    chosen = mixing.levels
    assert isinstance(chosen, BalancedLevels)
    levels = rng.uniform(-chosen.level_difference_db, chosen.level_difference_db, size=mixing.num_speakers) / 2
    references *= (10 ** (levels / 20) / _rms(references))[:, None]
    level = MIXTURE_LEVEL_DB + rng.uniform(*chosen.gain_range_db)
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
