"""SDR, SIR and SAR of BSS eval against fast_bss_eval and mir_eval."""

import mir_eval
import pytest
import torch

from unbraid.metrics.bss_eval import bss_eval_sources, sdr, sdr_improvement


def test_it_equals_mir_eval_and_fast_bss_eval(golden):
    file = golden("metrics_bss_a")
    found = bss_eval_sources(file["estimates"], file["references"])
    for tool in ("mir_eval", "fast_bss_eval_sources"):
        for name in ("sdr", "sir", "sar"):
            assert torch.allclose(getattr(found, name).float(), file[f"{tool}_{name}"], atol=1e-4), name
        assert torch.equal(found.order, file[f"{tool}_perm"].long())
    order = file["fast_sdr_perm"].long()
    assert torch.allclose(sdr(file["estimates"][order], file["references"]).float(), file["fast_sdr"], atol=1e-4)


def test_the_arguments_are_estimate_and_reference(golden):
    file = golden("metrics_bss_a")
    swapped = sdr(file["references"], file["estimates"])
    assert torch.allclose(swapped.float(), -file["fast_neg_sdr_swapped_roles"], atol=1e-4)


def test_the_mixture_as_estimate(golden):
    file = golden("metrics_bss_a")
    references, mixture = file["references"], file["mixture"]
    assert torch.allclose(sdr(mixture.expand_as(references), references).float(), file["mixture_sdr"], atol=1e-4)
    gained = sdr_improvement(file["estimates"], references, mixture)
    assert torch.allclose(gained.float(), file["fast_sdr"] - file["mixture_sdr"], atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*bss_eval_sources:FutureWarning")
@pytest.mark.filterwarnings("ignore:(?s).*mir_eval.separation:FutureWarning")
def test_three_sources_in_another_order(make_stems):
    """mir_eval on the spot, with estimates out of order."""
    estimate, reference = make_stems(num_sources=3, num_channels=1, num_samples=4000)
    estimate, reference = estimate[[2, 0, 1], 0], reference[:, 0]
    theirs = mir_eval.separation.bss_eval_sources(reference.numpy(), estimate.numpy())
    found = bss_eval_sources(estimate, reference)
    for ours, value in zip(found, theirs, strict=True):
        assert torch.allclose(ours.double(), torch.from_numpy(value).double(), atol=1e-4)
    assert found.order.tolist() == [1, 2, 0]
    unchanged = bss_eval_sources(estimate, reference, permute=False)
    assert unchanged.order.tolist() == [0, 1, 2]
    assert unchanged.sir.mean() < found.sir.mean()


def test_filtering_and_delay_are_forgiven():
    reference = torch.randn(2, 4000, dtype=torch.float64)
    coloured = reference.clone()
    coloured[:, 40:] += 0.5 * reference[:, :-40]
    assert (sdr(coloured, reference) > 20).all()


def test_orthogonal_noise_gives_the_ratio_of_powers():
    """A tone that no filter of the reference can make: the share of energy that the filtered tone has."""
    time = torch.arange(8000, dtype=torch.float64)
    reference, noise = torch.sin(0.3 * time), torch.sin(1.7 * time)
    assert sdr(reference + 0.1 * noise, reference, taps=2).item() == pytest.approx(20, abs=0.01)


def test_silence_never_raises():
    tone, silence = torch.randn(1, 600), torch.zeros(1, 600)
    assert sdr(tone, silence).item() == float("-inf")
    assert sdr(silence, tone).isnan().all()
    assert sdr(silence, silence).isnan().all()
    for estimate, reference in ((tone, silence), (silence, tone), (silence, silence)):
        found = bss_eval_sources(torch.cat([estimate, tone]), torch.cat([reference, tone.flip(-1)]))
        assert sorted(found.order.tolist()) == [0, 1]


def test_a_perfect_estimate_and_a_single_sample():
    reference = torch.randn(2, 700)
    assert (sdr(reference, reference) > 100).all()
    assert sdr(torch.ones(1, 1), torch.ones(1, 1)).item() > 100
    assert sdr(torch.ones(0, 5), torch.ones(0, 5)).shape == (0,)
