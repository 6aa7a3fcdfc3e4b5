"""Ratios in closed form and against fast_bss_eval."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import SignalError
from unbraid.metrics.pairs import check_pair
from unbraid.metrics.ratios import improvement, si_sdr, si_sdr_improvement, si_snr, snr


def test_orthogonal_noise_gives_the_ratio_of_powers():
    reference = torch.tensor([1.0, 1.0, 0.0, 0.0])
    noise = torch.tensor([0.0, 0.0, 0.1, -0.1])
    assert torch.allclose(snr(reference + noise, reference), torch.tensor(20.0, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(
        si_sdr(reference + noise, reference, zero_mean=False), torch.tensor(20.0, dtype=torch.float64), atol=1e-6
    )


def test_it_equals_fast_bss_eval(golden):
    file = golden("metrics_bss_a")
    order = file["fast_si_sdr_zeromean1_perm"].long()
    scores = si_sdr(file["estimates"][order], file["references"])
    assert torch.allclose(scores.float(), file["fast_si_sdr_zeromean1"], atol=1e-4)
    order = file["fast_si_sdr_zeromean0_perm"].long()
    scores = si_sdr(file["estimates"][order], file["references"], zero_mean=False)
    assert torch.allclose(scores.float(), file["fast_si_sdr_zeromean0"], atol=1e-4)


def test_the_mixture_as_estimate_equals_fast_bss_eval(golden):
    file = golden("metrics_bss_a")
    references = file["references"]
    baseline = si_sdr(file["mixture"].expand_as(references), references, zero_mean=False)
    assert torch.allclose(baseline.float(), file["mixture_si_sdr"], atol=1e-4)


@given(gain=st.floats(0.01, 100), length=st.integers(8, 500))
@settings(deadline=None)
def test_gain_does_not_matter_to_si_sdr(gain, length):
    estimate, reference = torch.randn(2, length, dtype=torch.float64)
    assert torch.allclose(si_sdr(gain * estimate, reference), si_sdr(estimate, reference), atol=1e-4)
    assert torch.allclose(si_sdr(estimate, gain * reference), si_sdr(estimate, reference), atol=1e-4)


def test_si_snr_forgives_an_offset():
    estimate, reference = torch.randn(2, 400, dtype=torch.float64)
    assert torch.allclose(si_snr(estimate + 5, reference - 3), si_snr(estimate, reference))
    assert si_sdr(estimate + 5, reference, zero_mean=False) < si_snr(estimate + 5, reference) - 3


def test_the_order_of_the_arguments_matters():
    reference = torch.randn(400, dtype=torch.float64)
    estimate = 0.5 * reference
    assert torch.allclose(snr(estimate, reference), torch.tensor(6.0206, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(snr(reference, estimate), torch.tensor(0.0, dtype=torch.float64), atol=1e-4)


def test_silence_never_raises():
    tone, silence = torch.sin(torch.arange(100.0)), torch.zeros(100)
    assert si_sdr(tone, silence) == float("-inf")
    assert torch.isnan(si_sdr(silence, tone))
    assert torch.isnan(snr(silence, silence))
    assert snr(tone, silence) == float("-inf")
    assert snr(silence, tone) == 0
    assert snr(tone, tone) == float("inf")


def test_the_mixture_improves_on_itself_by_nothing():
    references = torch.randn(2, 300)
    mixture = references.sum(0)
    nothing = torch.zeros(2, dtype=torch.float64)
    assert torch.allclose(si_sdr_improvement(mixture.expand(2, -1), references, mixture), nothing)
    assert torch.allclose(improvement(snr, mixture.expand(2, -1), references, mixture.expand(2, -1)), nothing)


def test_other_shapes_are_refused_and_not_broadcast():
    """By the check that every metric begins with; the test run's own checks of shapes would come before it."""
    with pytest.raises(SignalError, match=r"\(2, 10\).*\(2, 9\)"):
        check_pair(torch.ones(2, 10), torch.ones(2, 9))
    with pytest.raises(SignalError, match="same sources and channels"):
        check_pair(torch.ones(1, 10), torch.ones(2, 10))
    with pytest.raises(SignalError, match="0 samples"):
        check_pair(torch.ones(2, 0), torch.ones(2, 0))


def test_long_signals_are_taken_in_pieces_without_a_trace():
    estimate, reference = torch.randn(2, 4, 400_000) + 0.3
    power, error = reference.double().square().sum(-1), (estimate - reference).double().square().sum(-1)
    assert torch.allclose(snr(estimate, reference), 10 * torch.log10(power / error), atol=1e-9)
    one, other = (signal.double() - signal.double().mean(-1, keepdim=True) for signal in (estimate, reference))
    target = (one * other).sum(-1, keepdim=True) / other.square().sum(-1, keepdim=True) * other
    expected = 10 * torch.log10(target.square().sum(-1) / (one - target).square().sum(-1))
    assert torch.allclose(si_sdr(estimate, reference), expected, atol=1e-6)
