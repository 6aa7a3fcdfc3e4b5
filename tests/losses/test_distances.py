"""Distances against the published implementation's outputs, and in closed form."""

import math

import pytest
import torch

from unbraid.losses.distances import mixture_consistency, thresholded_snr, waveform_l1, waveform_l2
from unbraid.losses.spectral import multi_resolution_stft
from unbraid.losses.weighted import LossConfig, LossTerm, WeightedLoss


@pytest.mark.parametrize(("variant", "weight", "permuted"), [("recipe", 0.1, False), ("perm", 0.1, True)])
def test_thresholded_snr_equals_the_published_one(golden, variant, weight, permuted):
    """Among the references are a silent one, one at -75 dB (inactive) and one at -50 dB (active)."""
    file = golden("loss_thressnr_a")
    # The file has the channels first.
    estimate = file["estimate"].transpose(1, 2).contiguous().requires_grad_()
    reference = file["reference"].transpose(1, 2)
    mixture = reference.sum(dim=1)
    settings = {"inactive_weight": weight, "snr_max_db": 30.0}
    config = LossConfig(terms=(LossTerm(name="thresholded-snr", settings=settings),))
    if not permuted:
        per_channel = torch.stack(
            [
                thresholded_snr(estimate[:, :, [c]], reference[:, :, [c]], mixture[:, None, [c]], **settings).mean(1)
                for c in range(2)
            ],
            dim=1,
        )
        assert torch.allclose(per_channel, file[f"{variant}/loss_batch_chan"], atol=1e-4)
        loss = WeightedLoss(config, exchangeable=False)(estimate, reference, mixture).total
    else:
        # The published permutation is sought in each channel by itself.
        fold = lambda signal: signal.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # noqa: E731
        loss = WeightedLoss(config, exchangeable=True)(
            fold(estimate), fold(reference), mixture.flatten(0, 1).unsqueeze(1)
        ).total
    assert loss.item() == pytest.approx(file[f"{variant}/loss"].item(), abs=1e-4)
    (gradient,) = torch.autograd.grad(loss, estimate)
    wanted = file[f"{variant}/grad_estimate"].transpose(1, 2)
    assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-4 * wanted.square().mean().sqrt().item())


def test_thresholded_snr_in_closed_form():
    reference, mixture = torch.ones(1, 1, 1, 100), torch.ones(1, 1, 1, 100)
    exact = thresholded_snr(reference, reference, mixture)
    assert exact.item() == pytest.approx(-30, abs=1e-4)
    half_off = thresholded_snr(0.5 * reference, reference, mixture)
    assert half_off.item() == pytest.approx(10 * math.log10(0.251), abs=1e-4)
    # A silent reference: the estimate's own level counts, a tenth as much.
    silent = thresholded_snr(0.1 * reference, 0 * reference, mixture)
    assert silent.item() == pytest.approx(0.1 * 10 * math.log10(1 + 0.1), abs=1e-5)


def test_silence_everywhere_stays_finite():
    silence = torch.zeros(2, 2, 1, 600, requires_grad=True)
    names = ["snr", "si-sdr", "thresholded-snr", "l1", "l2", "multi-resolution-stft", "mixture-consistency"]
    settings = {"multi-resolution-stft": {"windows_samples": (256, 128)}}
    terms = tuple(LossTerm(name=name, settings=settings.get(name, {})) for name in names)
    loss = WeightedLoss(LossConfig(terms=terms), exchangeable=True)(
        silence, torch.zeros(2, 2, 1, 600), torch.zeros(2, 1, 600)
    )
    (gradient,) = torch.autograd.grad(loss.total, silence)
    assert loss.total.isfinite()
    assert gradient.isfinite().all()
    assert set(loss.parts) == set(names)


def test_waveform_distances_in_closed_form():
    estimate, reference = torch.full((1, 1, 2, 50), 0.75), torch.full((1, 1, 2, 50), 0.25)
    assert waveform_l1(estimate, reference).item() == pytest.approx(0.5)
    assert waveform_l2(estimate, reference).item() == pytest.approx(0.25)


def test_mixture_consistency_measures_what_is_left():
    mixture = torch.randn(3, 1, 1, 400)
    estimate = torch.cat([0.4 * mixture, 0.5 * mixture], dim=1)
    assert torch.allclose(mixture_consistency(estimate, mixture), torch.full((3,), -20.0), atol=1e-3)


def test_spectrograms_in_closed_form():
    reference = torch.randn(2, 1, 3000)
    # Twice the amplitude: a convergence of 1 and a log difference of log 2 in every bin, at every resolution.
    distance = multi_resolution_stft(2 * reference, reference, (512, 256))
    assert torch.allclose(distance, torch.full((2,), 1 + math.log(2)), atol=1e-4)
    assert torch.allclose(
        multi_resolution_stft(-reference, reference, (512,)), torch.tensor(2 * [1e-5 / 1e3]), atol=1e-4
    )
    upside_down = multi_resolution_stft(-reference, reference, (512,), compare="complex")
    assert torch.allclose(upside_down, 2 * multi_resolution_stft(0 * reference, reference, (512,), compare="complex"))
