from __future__ import annotations

import math

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.metrics.energies import Energies, EnergyMeter
from unbraid.metrics.ratios import si_sdr, snr


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gather(estimates, references, mixture, *, block: int = 700, exchangeable: bool = True) -> Energies:
    meter = EnergyMeter(100, exchangeable=exchangeable)
    for start in range(0, references.shape[-1], block):
        part = slice(start, start + block)
        meter.push(estimates[..., part], references[..., part], mixture[..., part])
    return meter.finish()


@pytest.mark.parametrize("num_channels", [1, 2])
def test_the_sums_give_the_ratios_of_the_signals(num_channels: int):
    """In blocks with a short last frame, and with means that are not zero."""
    references = noise(2, num_channels, 4321) + torch.tensor([0.5, -2.0]).reshape(2, 1, 1)
    estimates = 0.8 * references + 0.1 * noise(2, num_channels, 4321, seed=1) + 3
    mixture = references.sum(0)
    energies = gather(estimates, references, mixture)
    assert energies.reference_power.shape == (2, num_channels, 44)
    for index, candidate in enumerate((*estimates, mixture)):
        for source, reference in enumerate(references):
            one, other = candidate.double(), reference.double()
            assert energies.snr()[index, source] == pytest.approx(float(snr(one.flatten(), other.flatten())), abs=1e-9)
            centred = [(signal - signal.mean(-1, keepdim=True)).flatten() for signal in (one, other)]
            expected = float(si_sdr(*centred, zero_mean=False))
            assert energies.si_sdr()[index, source] == pytest.approx(expected, abs=1e-9)


def test_blocks_do_not_matter():
    references = noise(2, 1, 2000)
    estimates = references + noise(2, 1, 2000, seed=1)
    whole, parts = (gather(estimates, references, references.sum(0), block=size) for size in (2000, 100))
    torch.testing.assert_close(whole.error_power, parts.error_power)
    torch.testing.assert_close(whole.si_sdr(), parts.si_sdr())
    with pytest.raises(ConfigError, match="whole frames"):
        gather(estimates, references, references.sum(0), block=150)


def test_stems_are_not_compared_with_each_other():
    references = noise(3, 1, 500)
    energies = gather(references, references, references.sum(0), exchangeable=False)
    assert energies.snr()[:3].isnan().sum() == 6
    assert torch.equal(energies.snr()[:3].diagonal(), torch.full((3,), math.inf).double())
    assert not energies.snr()[3].isnan().any(), "the mixture is compared with all"


@pytest.mark.parametrize(("level", "lowest_db"), [(1e-6, 119.9), (1e-7, 139.0)])
def test_small_errors_are_measured(level: float, lowest_db: float):
    """Errors far below float32 of the estimate would vanish between large sums that nearly cancel."""
    reference = noise(1, 1, 5000).double()
    error = noise(1, 1, 5000, seed=1).double()
    energies = gather(reference * 1.5 + level * 1.5 * error, reference, reference[0])
    assert float(energies.si_sdr()[0, 0]) == pytest.approx(-20 * math.log10(level), abs=0.5)
    assert float(energies.si_sdr()[0, 0]) > lowest_db - 0.5


def test_a_constant_is_silence_to_the_si_sdr():
    reference = noise(1, 1, 999)
    constant = torch.full((1, 1, 999), 0.1)
    assert gather(constant, reference, reference[0]).si_sdr()[0, 0] == -math.inf
    assert math.isnan(gather(constant, constant + 1, constant[0]).si_sdr()[0, 0])
