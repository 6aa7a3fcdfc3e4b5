from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import UnbraidError
from unbraid.evaluation.scoring import Score, score_estimates


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
    with pytest.raises(UnbraidError, match="0 samples"):
        score(torch.zeros(2, 1, 0), torch.zeros(2, 1, 0))
