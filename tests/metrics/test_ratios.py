"""Ratios in closed form and against fast_bss_eval."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.metrics.ratios import si_sdr, si_sdr_improvement, snr


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
    assert torch.allclose(scores.float(), file["fast_si_sdr_zeromean1"].float(), atol=1e-3)
    order = file["fast_si_sdr_zeromean0_perm"].long()
    scores = si_sdr(file["estimates"][order], file["references"], zero_mean=False)
    assert torch.allclose(scores.float(), file["fast_si_sdr_zeromean0"].float(), atol=1e-3)


@given(gain=st.floats(0.01, 100))
@settings(deadline=None)
def test_gain_does_not_matter_to_si_sdr(gain):
    estimate, reference = torch.randn(2, 400, dtype=torch.float64)
    assert torch.allclose(si_sdr(gain * estimate, reference), si_sdr(estimate, reference), atol=1e-6)


def test_silence_never_raises():
    tone, silence = torch.sin(torch.arange(100.0)), torch.zeros(100)
    assert si_sdr(tone, silence) == float("-inf")
    assert si_sdr(silence, tone) == float("-inf") or torch.isnan(si_sdr(silence, tone))
    assert torch.isnan(snr(silence, silence))
    assert snr(tone, tone) == float("inf")


def test_the_mixture_improves_on_itself_by_nothing():
    references = torch.randn(2, 300)
    mixture = references.sum(0).expand(2, -1)
    assert torch.allclose(si_sdr_improvement(mixture, references, mixture), torch.zeros(2, dtype=torch.float64))
