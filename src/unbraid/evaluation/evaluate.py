"""Separates a fixed list of mixtures, scores every one, and says how sure the mean is.

`evaluate_list` yields a score as soon as a mixture is done; `summarise` makes means, medians and confidence intervals
of them, over all and apart by collections, sexes and level difference.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unbraid.audio.rate import resample, to_length
from unbraid.axes import Float, Tensor
from unbraid.data.corpus import SpeechCorpus, Split, load_corpus
from unbraid.data.mixing import ListedMixture, build_mixture, read_list
from unbraid.errors import ConfigError, DataError
from unbraid.evaluation.scoring import Score, score_estimates
from unbraid.inference.separator import Separator
from unbraid.models.contract import SeparationModel

LIST_SAMPLE_RATE = 16_000
"""Hz. The lengths in the lists count samples at this rate."""
LISTS = Path(__file__).parents[1] / "data" / "lists"
_SPLITS: dict[str, Split] = {"speech-test": "test", "speech-valid": "valid"}
_LIMIT_DB = 60.0
"""ours: in means, scores beyond this count as this; so a silent estimate pulls a mean down and leaves it finite."""
_BANDS_DB = ((1.0, "below 1 dB"), (3.0, "1 to 3 dB"), (math.inf, "from 3 dB"))


@dataclass(frozen=True, kw_only=True)
class MixtureScore:
    """How one listed mixture was separated."""

    mixture: ListedMixture
    score: Score
    model_seconds: float
    """Wall time of the separation."""

    @property
    def seconds(self) -> float:
        """Length of the mixture."""
        return self.mixture.num_samples / LIST_SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One measure over many mixtures, in dB."""

    mean_db: float
    median_db: float
    low_db: float
    """Lower end of the 95 % confidence interval of the mean; nothing is known of one mixture, where it is the mean."""
    high_db: float
    """Upper end."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some mixtures together. All statistics are nan where there is none with a defined score."""

    name: str
    count: int
    """Mixtures with a defined score."""
    undefined: int
    """Mixtures left out because a reference is silent."""
    si_sdr: Statistic
    mixture_si_sdr: Statistic
    """Before separation."""
    si_sdr_improvement: Statistic
    snr: Statistic


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All mixtures, and the same apart."""

    overall: Group
    breakdowns: dict[str, tuple[Group, ...]]
    """By "collection", "sexes" and "level" (difference of the two speakers)."""
    audio_seconds: float
    model_seconds: float


def open_list(name: str, root: str | Path) -> tuple[SpeechCorpus, list[ListedMixture]]:
    """A committed list by name, or a file of the same form, with the corpus that its utterances are in."""
    path = LISTS / f"{name}.csv" if name in _SPLITS else Path(name)
    if not path.is_file():
        raise DataError(f"there is no list '{name}': give the path of a CSV file or one of {', '.join(_SPLITS)}")
    corpus = load_corpus(root, _SPLITS.get(name, "test"), LIST_SAMPLE_RATE)
    try:
        mixtures = read_list(path)
    except (KeyError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a list of mixtures, see {LISTS / 'speech-test.csv'}: {error}") from error
    if not mixtures:
        raise DataError(f"the list {path} is empty: give one with at least one mixture")
    return corpus, mixtures


def evaluate_list(
    separator: Separator | SeparationModel, corpus: SpeechCorpus, mixtures: Sequence[ListedMixture]
) -> Iterator[MixtureScore]:
    """Scores mixture after mixture, in the order of the list.

    A model is run on each mixture at once, which is what papers report. A Separator takes its chunks as it would of any
    recording, which is what users get.
    """
    spec = separator.spec
    if not spec.exchangeable or spec.num_sources != 2:
        raise ConfigError(
            f"the lists hold mixtures of two speakers, and this model gives {', '.join(spec.sources)}: "
            "evaluate a model of two speakers"
        )
    for mixture in mixtures:
        references = torch.from_numpy(build_mixture(corpus, mixture)).unsqueeze(1)
        total = references.sum(dim=0)
        began = time.perf_counter()
        if isinstance(separator, Separator):
            stems = separator.separate(total, corpus.sample_rate)
            estimates = torch.from_numpy(np.stack([recording.samples for recording in stems.values()]))
        else:
            estimates = separate_at_once(separator, total, corpus.sample_rate)
        elapsed = time.perf_counter() - began
        score = score_estimates(estimates, references, total, exchangeable=True, sources=spec.sources)
        yield MixtureScore(mixture=mixture, score=score, model_seconds=elapsed)


def separate_at_once(
    model: SeparationModel, mixture: Float[Tensor, "1 sample"], sample_rate: int
) -> Float[Tensor, "source 1 sample"]:
    """One call of the model for a whole mono mixture, at the model's rate and back."""
    spec = model.spec
    samples = torch.from_numpy(resample(mixture.numpy(), sample_rate, spec.sample_rate))
    device = next(model.parameters()).device
    with torch.inference_mode():
        rows = samples.expand(spec.num_channels, -1).unsqueeze(0).to(device)
        estimates = model(rows)[0].float().mean(dim=1).cpu().clone()
    back = to_length(resample(estimates.numpy(), spec.sample_rate, sample_rate), mixture.shape[-1])
    return torch.from_numpy(np.ascontiguousarray(back)).unsqueeze(1)


def summarise(scores: Sequence[MixtureScore], *, seed: int = 0, draws: int = 2000) -> Summary:
    """Means with bootstrap confidence intervals, over all and by kind of mixture.

    The bootstrap draws mixtures. It says how much another list of the same speakers would differ; speakers stand in
    several mixtures, so for other speakers the intervals are too narrow.
    """

    def group(name: str, members: Sequence[MixtureScore]) -> Group:
        return _group(name, members, seed, draws)

    kinds = {
        "collection": [score.mixture.collections for score in scores],
        "sexes": [score.mixture.sexes for score in scores],
        "level": [_band(score.mixture.level_difference_db) for score in scores],
    }
    bands = [name for _, name in _BANDS_DB]
    breakdowns = {}
    for kind, labels in kinds.items():
        found = sorted(set(labels), key=lambda label: (bands.index(label) if label in bands else 0, label))
        breakdowns[kind] = tuple(
            group(label, [score for score, own in zip(scores, labels, strict=True) if own == label]) for label in found
        )
    return Summary(
        overall=group("all", scores),
        breakdowns=breakdowns,
        audio_seconds=sum((score.seconds for score in scores), 0.0),
        model_seconds=sum((score.model_seconds for score in scores), 0.0),
    )


def _band(difference_db: float) -> str:
    return next(name for limit, name in _BANDS_DB if abs(difference_db) < limit)


def _group(name: str, scores: Sequence[MixtureScore], seed: int, draws: int) -> Group:
    table = np.array(
        [
            (one.si_sdr_db, one.mixture_si_sdr_db, one.si_sdr_improvement_db, one.snr_db)
            for one in (score.score for score in scores)
        ]
    ).reshape(len(scores), 4)
    defined = table[~np.isnan(table).any(axis=1)].clip(-_LIMIT_DB, _LIMIT_DB)
    after, before, improvement, snr = (_statistic(values, seed, draws) for values in defined.T)
    return Group(
        name=name,
        count=len(defined),
        undefined=len(table) - len(defined),
        si_sdr=after,
        mixture_si_sdr=before,
        si_sdr_improvement=improvement,
        snr=snr,
    )


def _statistic(values: np.ndarray, seed: int, draws: int) -> Statistic:
    if not len(values):
        return Statistic(mean_db=math.nan, median_db=math.nan, low_db=math.nan, high_db=math.nan)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return Statistic(
        mean_db=float(values.mean()), median_db=float(np.median(values)), low_db=float(low), high_db=float(high)
    )
