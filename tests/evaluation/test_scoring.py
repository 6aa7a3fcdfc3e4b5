from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import UnbraidError
from unbraid.evaluation.scores import TrackScore
from unbraid.evaluation.scoring import score_estimates


def signals(num_sources: int = 2, num_channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_sources, num_channels, 4000, generator=torch.Generator().manual_seed(seed))


def score(estimates: torch.Tensor, references: torch.Tensor, exchangeable: bool = True) -> TrackScore:
    return score_estimates(estimates, references, references.sum(0), exchangeable=exchangeable)


def order(result: TrackScore) -> list[int]:
    """For every reference the place of the estimate that was taken for it."""
    return [[one.source for one in result.targets].index(one.estimate) for one in result.targets]


def test_known_ratio():
    """Sines of different whole periods are orthogonal, so the ratio of their energies is the score."""
    time = torch.arange(8000) / 8000
    reference, noise = (torch.sin(2 * torch.pi * hz * time).reshape(1, 1, -1) for hz in (100, 230))
    result = score(reference + 0.1 * noise, reference)
    assert result.value("SI-SDR") == pytest.approx(20, abs=1e-3)
    assert result.value("SNR") == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_exchangeable_estimates_find_their_references(num_channels: int):
    references = signals(3, num_channels)
    estimates = references[[2, 0, 1]] + 0.1 * signals(3, num_channels, seed=1)
    result = score(estimates, references)
    assert order(result) == [1, 2, 0]
    assert result.value("SI-SDR") == pytest.approx(20, abs=0.5)
    assert score(estimates, references, exchangeable=False).value("SI-SDR") < 0


def test_fixed_sources_keep_their_place_and_their_names():
    references = signals()
    result = score_estimates(
        references.flip(0), references, references.sum(0), exchangeable=False, sources=("vocals", "drums")
    )
    assert order(result) == [0, 1]
    assert [one.source for one in result.targets] == ["vocals", "drums"]


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_gain_changes_the_snr_and_not_the_si_sdr(gain: float, seed: int):
    references = signals(seed=seed)
    estimates = references + 0.3 * signals(seed=seed + 1000)
    plain, scaled = score(estimates, references), score(gain * estimates, references)
    assert scaled.value("SI-SDR") == pytest.approx(plain.value("SI-SDR"), abs=1e-3)
    assert order(scaled) == order(plain)
    if abs(math.log10(gain)) > 0.5:
        assert scaled.value("SNR") < plain.value("SNR")


def test_the_mixture_itself_improves_nothing():
    references = signals()
    mixture = references.sum(0)
    result = score_estimates(mixture.expand(2, -1, -1), references, mixture, exchangeable=True)
    assert result.value("SI-SDRi") == pytest.approx(0, abs=1e-9)


def test_channels_are_scored_together():
    """All the noise is in one channel: pooled it is 10 dB, where a mean over channels would be infinite."""
    references = signals(1, 2)
    estimates = references.clone()
    estimates[:, 1] += 0.4472 * signals(1, 1, seed=1)[:, 0]
    assert score(estimates, references).value("SNR") == pytest.approx(10, abs=0.3)


def test_silence_never_raises():
    references, silence = signals(), torch.zeros(2, 1, 4000)
    assert math.isnan(score(references, silence).value("SI-SDRi"))
    assert math.isnan(score(silence, silence).value("SI-SDR"))
    assert score(silence, references).value("SI-SDR") == -math.inf
    half = references.clone()
    half[0] = 0
    result = score(half, references)
    assert order(result) == [0, 1]
    assert result.targets[0].metrics["SI-SDR"] == -math.inf
    assert result.targets[1].metrics["SI-SDR"] > 100
    assert order(score(torch.ones(2, 1, 1), torch.ones(2, 1, 1))) == [0, 1]


def test_an_empty_signal_is_refused():
    with pytest.raises(UnbraidError, match="0 samples"):
        score(torch.zeros(2, 1, 0), torch.zeros(2, 1, 0))
