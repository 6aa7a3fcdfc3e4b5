from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.data.corpus import load_corpus
from unbraid.data.mixing import ListedMixture, list_mixtures, write_list
from unbraid.errors import ConfigError, DataError
from unbraid.evaluation.evaluate import LISTS, MixtureScore, evaluate_list, open_list, summarise
from unbraid.evaluation.scoring import Score, SourceScore, score_estimates
from unbraid.inference.separator import Separator
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel


def signals(num_sources: int = 2, num_channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_sources, num_channels, 4000, generator=torch.Generator().manual_seed(seed))


def score(estimates: torch.Tensor, references: torch.Tensor, exchangeable: bool = True) -> Score:
    return score_estimates(estimates, references, references.sum(0), exchangeable=exchangeable)


def test_known_ratio():
    """Sines of different whole periods are orthogonal, so the ratio of their energies is the score."""
    time = torch.arange(8000) / 8000
    reference, noise = (torch.sin(2 * torch.pi * hz * time).reshape(1, 1, -1) for hz in (100, 230))
    result = score(reference + 0.1 * noise, reference)
    assert result.si_sdr_db == pytest.approx(20, abs=1e-3)
    assert result.snr_db == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_exchangeable_estimates_find_their_references(num_channels: int):
    references = signals(3, num_channels)
    estimates = references[[2, 0, 1]] + 0.1 * signals(3, num_channels, seed=1)
    result = score(estimates, references)
    assert result.order == (1, 2, 0)
    assert result.si_sdr_db == pytest.approx(20, abs=0.5)
    assert score(estimates, references, exchangeable=False).si_sdr_db < 0


def test_fixed_sources_keep_their_place_and_their_names():
    references = signals()
    result = score_estimates(
        references.flip(0), references, references.sum(0), exchangeable=False, sources=("vocals", "drums")
    )
    assert result.order == (0, 1)
    assert [one.source for one in result.sources] == ["vocals", "drums"]


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_gain_changes_the_snr_and_not_the_si_sdr(gain: float, seed: int):
    references = signals(seed=seed)
    estimates = references + 0.3 * signals(seed=seed + 1000)
    plain, scaled = score(estimates, references), score(gain * estimates, references)
    assert scaled.si_sdr_db == pytest.approx(plain.si_sdr_db, abs=1e-3)
    assert scaled.order == plain.order
    if abs(math.log10(gain)) > 0.5:
        assert scaled.snr_db < plain.snr_db


def test_the_mixture_itself_improves_nothing():
    references = signals()
    mixture = references.sum(0)
    result = score_estimates(mixture.expand(2, -1, -1), references, mixture, exchangeable=True)
    assert result.si_sdr_improvement_db == pytest.approx(0, abs=1e-9)


def test_channels_are_scored_together():
    """All the noise is in one channel: pooled it is 10 dB, where a mean over channels would be infinite."""
    references = signals(1, 2)
    estimates = references.clone()
    estimates[:, 1] += 0.4472 * signals(1, 1, seed=1)[:, 0]
    assert score(estimates, references).snr_db == pytest.approx(10, abs=0.3)


def test_silence_never_raises():
    references, silence = signals(), torch.zeros(2, 1, 4000)
    assert math.isnan(score(references, silence).si_sdr_improvement_db)
    assert math.isnan(score(silence, silence).si_sdr_db)
    assert score(silence, references).si_sdr_db == -math.inf
    half = references.clone()
    half[0] = 0
    result = score(half, references)
    assert result.order == (0, 1)
    assert result.sources[0].si_sdr_db == -math.inf
    assert result.sources[1].si_sdr_db > 100
    assert score(torch.ones(2, 1, 1), torch.ones(2, 1, 1)).order == (0, 1)


def test_an_empty_signal_is_refused():
    with pytest.raises(ConfigError, match="0 samples"):
        score(torch.zeros(2, 1, 0), torch.zeros(2, 1, 0))


def listed(improvement_db: float, collections: str = "libri", sexes: str = "FM", level: float = 0.0) -> MixtureScore:
    sources = tuple(
        SourceScore(source=name, estimate=i, si_sdr_db=improvement_db, mixture_si_sdr_db=0.0, snr_db=improvement_db)
        for i, name in enumerate(("speaker1", "speaker2"))
    )
    mixture = ListedMixture("0000", "a", "b", 1.0, 1.0, 16_000, collections, sexes, level)
    return MixtureScore(mixture=mixture, score=Score(sources), model_seconds=0.5)


def test_summary():
    scores = [listed(1.0), listed(3.0, "ocean", "FF", 2.0), listed(11.0, "cross", "FM", -4.0)]
    summary = summarise(scores)
    improvement = summary.overall.si_sdr_improvement
    assert (improvement.mean_db, improvement.median_db) == (5.0, 3.0)
    assert 1.0 <= improvement.low_db < 5.0 < improvement.high_db <= 11.0
    assert {group.name: group.count for group in summary.breakdowns["sexes"]} == {"FF": 1, "FM": 2}
    assert [group.name for group in summary.breakdowns["level"]] == ["below 1 dB", "1 to 3 dB", "from 3 dB"]
    assert [group.name for group in summary.breakdowns["collection"]] == ["cross", "libri", "ocean"]
    assert (summary.audio_seconds, summary.model_seconds) == (3.0, 1.5)
    assert summarise(scores) == summary, "the bootstrap is seeded"


def test_the_confidence_interval_covers_the_truth():
    """A 95 % interval over normal scores should miss the true mean about once in twenty times."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(30):
        statistic = summarise([listed(float(x)) for x in rng.normal(8, 3, 30)], draws=300).overall.si_sdr
        missed += not statistic.low_db <= 8 <= statistic.high_db
    assert missed <= 5


def test_silence_in_a_summary():
    summary = summarise([listed(10.0), listed(-math.inf), listed(math.nan)])
    assert (summary.overall.count, summary.overall.undefined) == (2, 1)
    assert summary.overall.si_sdr.mean_db == -25.0, "a silent estimate counts as -60 dB and is not left out"
    assert summarise([]).overall.count == 0


class Halves(SeparationModel):
    """Gives half the mixture to each speaker; a model whose score is known."""

    def __init__(self, sample_rate: int, num_channels: int) -> None:
        super().__init__()
        tiny = build_model("s4m-tiny", num_rounds=1, depth=1, hidden_dim=4, bottleneck_dim=4).spec
        self.spec = type(tiny)(
            sample_rate=sample_rate,
            num_channels=num_channels,
            sources=tiny.sources,
            exchangeable=True,
            chunk_seconds=1.0,
        )
        self.gain = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        return (self.gain * mixture).unsqueeze(1).expand(-1, 2, -1, -1)


@pytest.mark.parametrize(("sample_rate", "num_channels"), [(16_000, 1), (24_000, 1), (16_000, 2)])
def test_evaluate_list(corpus_root: Path, sample_rate: int, num_channels: int):
    corpus = load_corpus(corpus_root, "test", 16_000)
    mixtures = list_mixtures(corpus, 3, seed=0)
    model = Halves(sample_rate, num_channels)
    for separator in (model, Separator(model, device="cpu")):
        scores = list(evaluate_list(separator, corpus, mixtures))
        assert [one.mixture for one in scores] == mixtures
        assert all(abs(one.score.si_sdr_improvement_db) < 0.05 for one in scores)
        assert all(one.model_seconds > 0 and one.seconds in (2.2, 2.5) for one in scores)


def test_open_list(corpus_root: Path, tmp_path: Path):
    corpus = load_corpus(corpus_root, "test", 16_000)
    mixtures = list_mixtures(corpus, 2, seed=0)
    write_list(mixtures, tmp_path / "mine.csv")
    assert open_list(str(tmp_path / "mine.csv"), corpus_root)[1] == mixtures
    assert len(open_list("speech-test", corpus_root)[1]) == 300
    with pytest.raises(DataError, match="speech-test, speech-valid"):
        open_list("nosuch", corpus_root)
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a list"):
        open_list(str(tmp_path / "odd.csv"), corpus_root)
    (tmp_path / "empty.csv").write_text((LISTS / "speech-test.csv").read_text().splitlines()[0])
    with pytest.raises(DataError, match="empty"):
        open_list(str(tmp_path / "empty.csv"), corpus_root)
