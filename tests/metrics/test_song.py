"""The ratios of whole songs, against the challenges' and the authors' scripts."""

import fast_bss_eval
import pytest
import torch

from unbraid.metrics.song import dnr_si_sdr, dnr_snr, usdr, usdr_per_channel


def test_both_forms_equal_their_scripts(golden):
    file = golden("metrics_museval_a")
    estimate, reference = file["estimates"].mT, file["references"].mT
    assert torch.allclose(usdr(estimate, reference).float(), file["usdr_sdx"], atol=1e-4)
    assert torch.allclose(usdr_per_channel(estimate, reference).float(), file["usdr_sfc"], atol=1e-4)
    assert torch.equal(dnr_snr(estimate, reference), usdr_per_channel(estimate, reference))


def test_pooling_follows_the_loud_channel():
    reference = torch.tensor([[10.0, -10.0], [0.1, 0.1]])
    estimate = reference + torch.tensor([[1.0, 1.0], [0.1, 0.1]])
    assert usdr(estimate, reference).item() == pytest.approx(10 * torch.tensor(200.02 / 2.02).log10().item(), abs=1e-4)
    assert usdr_per_channel(estimate, reference).item() == pytest.approx((20 + 0) / 2, abs=1e-4)


def test_one_channel_makes_no_difference():
    estimate, reference = torch.randn(2, 3, 1, 400)
    assert torch.allclose(usdr(estimate, reference), usdr_per_channel(estimate, reference), atol=1e-6)


def test_silence_has_a_finite_score():
    tone, silence = torch.ones(1, 10), torch.zeros(1, 10)
    for metric in (usdr, usdr_per_channel, dnr_si_sdr):
        assert all(torch.isfinite(metric(a, b)) for a in (tone, silence) for b in (tone, silence))
    assert usdr(silence, silence) == 0


def test_dnr_si_sdr_equals_fast_bss_eval_with_its_clamp():
    reference = torch.randn(3, 1, 900, dtype=torch.float64)
    estimate = reference + torch.tensor([0.5, 1e-7, 0.0], dtype=torch.float64)[:, None, None] * torch.randn(3, 1, 900)
    estimate[2] = 0
    theirs = -fast_bss_eval.si_sdr_loss(estimate, reference, clamp_db=80).squeeze(-1)
    assert torch.allclose(dnr_si_sdr(estimate, reference), theirs, atol=1e-4)
    assert dnr_si_sdr(estimate, reference).tolist()[1:] == [80, -80]
