"""The Wiener mask of a model's own estimates: sums, frequencies, silence."""

import pytest
import torch

from unbraid.signal.wiener import wiener_refine

RATE = 8000


def tones(seconds=1.0):
    time = torch.arange(int(seconds * RATE)) / RATE
    return torch.stack([torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 2500 * time)])[None, :, None]


@pytest.mark.parametrize("samples", [1, 7, 257, 8000])
def test_estimates_add_up_to_the_mixture(samples):
    torch.manual_seed(0)
    estimates, mixture = torch.randn(2, 3, 2, samples), torch.randn(2, 2, samples)
    refined = wiener_refine(estimates, mixture, RATE)
    torch.testing.assert_close(refined.sum(dim=1), mixture, atol=1e-4, rtol=0)


def test_what_leaked_goes_back_where_the_power_is():
    sources = tones()
    leaking = torch.stack([sources[:, 0] + 0.2 * sources[:, 1], 0.8 * sources[:, 1]], dim=1)
    refined = wiener_refine(leaking, sources.sum(dim=1), RATE)
    before, after = ((estimate - sources).square().mean() for estimate in (leaking, refined))
    assert after < before / 4


def test_below_the_frequency_estimates_stay_as_they_are():
    sources = tones()
    estimates = 0.5 * sources
    refined = wiener_refine(estimates, sources.sum(dim=1), RATE, from_hz=1000.0)
    torch.testing.assert_close(refined[:, 0, :, 500:-500], estimates[:, 0, :, 500:-500], atol=2e-3, rtol=0)
    torch.testing.assert_close(refined[:, 1, :, 500:-500], sources[:, 1, :, 500:-500], atol=2e-2, rtol=0)


def test_pieces_of_spectra_make_what_the_whole_makes(monkeypatch):
    torch.manual_seed(0)
    estimates, mixture = torch.randn(2, 3, 2, 9001), torch.randn(2, 2, 9001)
    whole = wiener_refine(estimates, mixture, RATE, from_hz=1500.0)
    monkeypatch.setattr("unbraid.signal.wiener._CACHED_SAMPLES", 1)
    torch.testing.assert_close(wiener_refine(estimates, mixture, RATE, from_hz=1500.0), whole, atol=1e-6, rtol=0)


def test_from_above_the_highest_frequency_nothing_changes():
    estimates, mixture = torch.randn(1, 2, 1, 3000), torch.randn(1, 1, 3000)
    assert torch.equal(wiener_refine(estimates, mixture, RATE, from_hz=float(RATE)), estimates)


def test_silence_stays_silence_and_what_no_estimate_has_is_shared_out():
    assert not wiener_refine(torch.zeros(1, 2, 1, 900), torch.zeros(1, 1, 900), RATE).any()
    mixture = torch.randn(1, 1, 900)
    refined = wiener_refine(torch.zeros(1, 2, 1, 900), mixture, RATE)
    torch.testing.assert_close(refined, 0.5 * mixture.unsqueeze(1).expand(-1, 2, -1, -1), atol=1e-4, rtol=0)
