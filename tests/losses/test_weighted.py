"""The weighted sum, the assignment inside it, and the multi-loss at rising rates."""

import pytest
import torch

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.losses.distances import negative_si_sdr
from unbraid.losses.multi_rate import (
    PAPER_RATES_HZ,
    MultiLossConfig,
    MultiRateLoss,
    band_limit,
    resample,
    rising_rates,
)
from unbraid.losses.weighted import LossConfig, LossTerm, WeightedLoss


def test_terms_add_up_with_their_weights():
    estimate, reference = torch.randn(2, 3, 2, 1, 800)
    mixture = reference.sum(dim=1)
    config = LossConfig(terms=(LossTerm(name="l1", weight=2.0), LossTerm(name="l2", weight=0.5)))
    loss = WeightedLoss(config, exchangeable=False)(estimate, reference, mixture)
    assert torch.allclose(loss.total, 2 * loss.parts["l1"] + 0.5 * loss.parts["l2"])
    assert torch.allclose(loss.parts["l1"], (estimate - reference).abs().mean())


def test_what_is_all_below_the_floor_counts_or_teaches_nothing():
    reference = torch.randn(2, 2, 1, 800)
    estimate = (reference + 1e-3 * torch.randn_like(reference)).requires_grad_()
    mixture = reference.sum(dim=1)

    def loss_of(below_floor, estimate):
        config = LossConfig(floor_db=-30.0, below_floor=below_floor)
        return WeightedLoss(config, exchangeable=False)(estimate, reference, mixture)

    kept = loss_of("mean", estimate)
    assert kept.teaches is None
    assert kept.total.item() == pytest.approx(-60, abs=1)
    skipped = loss_of("skip", estimate)
    assert skipped.teaches is not None
    assert not skipped.teaches
    (gradient,) = torch.autograd.grad(skipped.total, estimate)
    assert not gradient.any()
    half = torch.stack([estimate[0], torch.zeros_like(estimate[1])])
    assert loss_of("skip", half).teaches
    assert loss_of("skip", half).total == loss_of("mean", half).total


def test_one_assignment_serves_all_terms():
    reference = torch.randn(3, 4, 1, 500)
    estimate = reference.flip(1)
    mixture = reference.sum(dim=1)
    terms = (LossTerm(name="si-sdr"), LossTerm(name="l1", weight=10.0))
    assert WeightedLoss(LossConfig(terms=terms), exchangeable=True)(estimate, reference, mixture).parts["l1"] == 0
    assert WeightedLoss(LossConfig(terms=terms), exchangeable=False)(estimate, reference, mixture).parts["l1"] > 0.5


@pytest.mark.parametrize("exchangeable", [True, False])
def test_an_unknown_reference_has_no_influence(exchangeable):
    estimate, reference = torch.randn(2, 3, 2, 1, 500)
    estimate.requires_grad_()
    present = torch.tensor([[True, True], [True, False], [False, False]])
    loss_of = WeightedLoss(LossConfig(terms=(LossTerm(name="l2"),)), exchangeable=exchangeable)
    other = reference.clone()
    other[1, 1] = 7.0
    other[2] = -3.0
    mixture = torch.zeros(3, 1, 500)
    one, two = (loss_of(estimate, signal, mixture, present).total for signal in (reference, other))
    assert torch.equal(one, two)
    (gradient,) = torch.autograd.grad(one, estimate)
    assert not gradient[2].any()
    nothing = loss_of(estimate, reference, mixture, torch.zeros(3, 2, dtype=torch.bool)).total
    assert nothing.item() == 0
    assert not torch.autograd.grad(nothing, estimate)[0].any()


def test_a_term_that_is_not_there_is_a_sentence():
    with pytest.raises(UnknownNameError, match="thresholded-snr"):
        LossTerm(name="sisnr")
    with pytest.raises(ConfigError, match="snr_max_db"):
        LossTerm(name="thresholded-snr", settings={"snr_max": 30})
    with pytest.raises(ConfigError, match="at least one"):
        LossConfig(terms=(LossTerm(name="mixture-consistency"),))


def tone(hz, num_samples=4000, rate=8000):
    return torch.sin(2 * torch.pi * hz * torch.arange(num_samples).double() / rate).float()


def test_resampling_keeps_low_tones_and_drops_high_ones():
    low, high = tone(300), tone(1700)
    down = resample(low + high, 8000, 2000)
    assert torch.allclose(down, tone(300, 1000, 2000), atol=1e-4)
    assert torch.allclose(band_limit(low + high, 8000, 2000), low, atol=1e-4)
    assert resample(low, 8000, 8000) is low


def multi_rate(estimates, reference, rates, reading="both", refines=False):
    """The multi-loss with the paper's distance, at 8 kHz."""
    loss = WeightedLoss(LossConfig(terms=(LossTerm(name="si-sdr"),)), exchangeable=True)
    config = MultiLossConfig(rates=rates, reading=reading)
    return MultiRateLoss(config, loss, 8000, refines=refines)(estimates, reference, reference.sum(dim=1))


def test_the_two_readings_differ_in_what_an_early_block_is_asked():
    low, high = tone(300), tone(1700)
    reference = torch.stack([low + high, tone(500)])[None, :, None]
    full, limited = reference, torch.stack([low, tone(500)])[None, :, None]

    def loss(estimate, reading):
        return multi_rate([estimate], reference, (2000,), reading).total.item()

    # Below the band's edge both agree with the reference; only "target" minds the high tone.
    assert loss(full, "both") < -40
    assert loss(limited, "both") < -40
    assert loss(limited, "target") < -40
    # One speaker holds a high tone as loud as the low one, 0 dB; the other is perfect.
    one_off = multi_rate([full[:, :1]], reference[:, :1], (2000,), "target").total.item()
    assert one_off == pytest.approx(0, abs=0.01)


def test_blocks_are_averaged_and_each_finds_its_own_order():
    reference = torch.randn(2, 2, 1, 800)
    blocks = [reference + 0.1 * torch.randn_like(reference), reference.flip(1) + 0.3 * torch.randn_like(reference)]
    whole = multi_rate(blocks, reference, "same")
    straight = negative_si_sdr(blocks[0], reference).mean()
    turned = negative_si_sdr(blocks[1].flip(1), reference).mean()
    assert torch.allclose(whole.total, (straight + turned) / 2, atol=1e-4)
    assert whole.parts["block1"] == pytest.approx(straight.item(), abs=1e-4)
    assert whole.parts["block2"] == pytest.approx(turned.item(), abs=1e-4)


def test_what_refines_the_last_block_counts_beside_the_mean():
    reference = torch.randn(2, 2, 1, 800)
    blocks = [reference + noise * torch.randn_like(reference) for noise in (0.5, 0.3, 0.1)]
    mean, refined = multi_rate(blocks[:2], reference, "rising").total, multi_rate(blocks[2:], reference, "same").total
    whole = multi_rate(blocks, reference, "rising", refines=True)
    assert torch.allclose(whole.total, mean + refined)
    assert list(whole.parts) == ["block1", "block2", "refined"]


@pytest.mark.parametrize(("reading", "pulled"), [("both", False), ("target", True)])
def test_tones_above_a_blocks_rate_pull_only_if_the_target_alone_is_limited(reading, pulled):
    high = tone(3000)[None, None, None].expand(1, 2, 1, -1).clone().requires_grad_()
    reference = torch.stack([tone(300), tone(500)])[None, :, None]
    multi_rate([reference + 0.1 * high], reference, (2000,), reading).total.backward()
    along = (high.grad * high.detach()).sum().abs() / high.grad.abs().sum().clamp(min=1e-12)
    assert (along > 0.01) == pulled


def test_rates_rise_and_end_at_the_full_rate():
    assert rising_rates(8, 8000) == PAPER_RATES_HZ
    assert rising_rates(8, 16_000)[0] == 1000
    for num_blocks in (1, 2, 3, 5):
        rates = rising_rates(num_blocks, 8000)
        assert list(rates) == sorted(rates)
        assert rates[-1] == 8000
    with pytest.raises(ConfigError, match="one rate per block"):
        multi_rate([torch.randn(1, 1, 1, 9)], torch.randn(1, 1, 1, 9), (500, 8000))
    with pytest.raises(ConfigError, match="above the 8000 Hz"):
        multi_rate([torch.randn(1, 1, 1, 9)], torch.randn(1, 1, 1, 9), (16_000,))
