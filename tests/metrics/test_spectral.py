"""Spectrogram ratios in closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ConfigError
from unbraid.metrics.ratios import snr
from unbraid.metrics.spectral import log_spectral_distance, spectrogram_snr


def test_half_the_level_is_six_decibels_off_in_both():
    reference = torch.randn(2, 3000, dtype=torch.float64)
    assert torch.allclose(spectrogram_snr(0.5 * reference, reference), torch.full((2,), 20 * math.log10(2)).double())
    distance = log_spectral_distance(0.5 * reference, reference, eps=0.0)
    assert torch.allclose(distance, torch.full((2,), 2 * math.log10(2)).double())


def test_phase_does_not_count():
    reference = torch.randn(1, 4000, dtype=torch.float64)
    assert spectrogram_snr(-reference, reference).item() > 200
    assert log_spectral_distance(-reference, reference).item() < 1e-9
    assert snr(-reference, reference).item() < 0


def test_it_equals_the_transform_of_the_signal_layer():
    """Frame for frame; the groups of frames leave no trace."""
    torch.manual_seed(1)
    estimate, reference = torch.randn(2, 1, 30_001, dtype=torch.float64)
    window = torch.hann_window(256, dtype=torch.float64)
    true, found = (
        torch.stft(one, 256, 64, window=window, pad_mode="constant", return_complex=True).abs()
        for one in (reference, estimate)
    )
    expected = 10 * torch.log10(true.square().sum((1, 2)) / (true - found).square().sum((1, 2)))
    assert torch.allclose(spectrogram_snr(estimate, reference, 256, 64), expected)
    logs = torch.log10((true.square() + 1e-10) / (found.square() + 1e-10))
    expected = logs.square().mean(1).sqrt().mean(1)
    assert torch.allclose(log_spectral_distance(estimate, reference, 256, 64), expected)


@given(st.integers(1, 2000), st.sampled_from([(16, 4), (64, 64), (31, 7)]))
@settings(deadline=None, max_examples=30)
def test_any_length_has_a_score(num_samples, sizes):
    estimate, reference = torch.randn(2, 2, num_samples)
    assert spectrogram_snr(estimate, reference, *sizes).isfinite().all()
    assert (log_spectral_distance(estimate, reference, *sizes) > 0).all()


def test_silence_never_raises():
    tone, silence = torch.ones(100), torch.zeros(100)
    assert spectrogram_snr(tone, silence) == float("-inf")
    assert spectrogram_snr(silence, tone) == 0
    assert spectrogram_snr(silence, silence).isnan()
    assert log_spectral_distance(silence, silence) == 0
    assert torch.isfinite(log_spectral_distance(silence, tone))


def test_sizes_that_leave_gaps_are_refused():
    with pytest.raises(ConfigError, match="hop 65"):
        spectrogram_snr(torch.ones(100), torch.ones(100), 64, 65)
