"""Loudness against what BS.1770 and EBU Tech 3341 say a meter must read."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from unbraid.errors import ConfigError
from unbraid.metrics.loudness import loudness_error
from unbraid.signal.loudness import k_weighting, loudness, loudness_by_transform


def sine(level_db, seconds, rate=48_000, frequency=1000, channels=2):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (10 ** (level_db / 20) * torch.sin(2 * math.pi * frequency * time)).expand(channels, -1)


def test_a_full_scale_sine_in_one_channel_reads_minus_three():
    """BS.1770-4: a 0 dB FS sine at 997 Hz in the left, right or centre channel reads -3.01 LKFS."""
    tone = sine(0, 3, frequency=997, channels=1)
    assert loudness(tone, 48_000).item() == pytest.approx(-3.01, abs=0.005)
    assert loudness(torch.cat([torch.zeros_like(tone), tone]), 48_000).item() == pytest.approx(-3.01, abs=0.005)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 5), (-23, 30), (-36, 5)], -23),
        ([(-72, 5), (-36, 5), (-23, 30), (-36, 5), (-72, 5)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_the_meter_reads_what_the_ebu_asks_for(levels, expected, rate):
    """EBU Tech 3341, minimum requirements 1 to 5 (some shortened): within 0.1 LU."""
    programme = torch.cat([sine(level, seconds, rate) for level, seconds in levels], dim=-1)
    assert loudness(programme, rate).item() == pytest.approx(expected, abs=0.1)


def test_surround_channels_weigh_more_and_the_low_frequency_channel_nothing():
    """EBU Tech 3341, test 6: 5.0 with -28, -28, -24, -30, -30 dB reads -23 LUFS."""
    levels = (-28, -28, -24, -30, -30)
    programme = torch.cat([sine(level, 5, channels=1) for level in levels])
    assert loudness(programme, 48_000).item() == pytest.approx(-23, abs=0.1)
    with_low = torch.cat([programme[:3], sine(-6, 5, frequency=50, channels=1), programme[3:]])
    assert loudness(with_low, 48_000).item() == pytest.approx(loudness(programme, 48_000).item(), abs=1e-9)


def test_the_weighting_is_the_standards_at_48_khz():
    """The biquads as BS.1770-4 prints them."""
    head = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    cut = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    expected = torch.tensor([head, cut], dtype=torch.float64)
    torch.testing.assert_close(k_weighting(48_000), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("rate", [1000, 3300, 8000, 384_000])
def test_the_weighting_is_stable_at_every_rate(rate):
    noise = 0.1 * torch.randn(1, 3 * rate, dtype=torch.float64)
    assert -60 < loudness(noise, rate).item() < 0


@given(st.floats(-20, 20), st.integers(1, 30_000))
@settings(deadline=None, max_examples=30)
def test_the_error_is_the_gain_whatever_the_length(gain_db, num_samples):
    reference = 0.3 * torch.randn(2, num_samples, dtype=torch.float64)
    assert loudness_error(10 ** (gain_db / 20) * reference, reference, 8000).item() == pytest.approx(gain_db, abs=1e-6)


def test_the_pieces_of_a_long_signal_join_without_a_trace():
    """Against the same filters applied to everything at once."""
    signal = 0.1 * torch.randn(1, 100_000, dtype=torch.float64)
    whole = torch.from_numpy(sosfilt(k_weighting(8000).numpy(), signal.numpy()))
    blocks = whole.square().unfold(-1, 3200, 800).mean(-1)
    assert loudness(signal, 8000).item() == pytest.approx(-0.691 + 10 * blocks.mean().log10().item(), abs=1e-6)


def test_silence_never_raises():
    tone, silence = sine(-20, 1), torch.zeros(2, 48_000)
    assert loudness(silence, 48_000) == float("-inf")
    assert loudness_error(silence, tone, 48_000) == float("-inf")
    assert loudness_error(tone, silence, 48_000) == float("inf")
    assert loudness_error(silence, silence, 48_000).isnan()
    both = loudness(torch.stack([tone, silence]), 48_000)
    assert both[0] == loudness(tone, 48_000)
    assert both[1] == float("-inf")


def test_nothing_to_measure_is_refused():
    with pytest.raises(ConfigError, match="at least 1 sample"):
        loudness(torch.zeros(2, 0), 48_000)


@pytest.mark.parametrize("seconds", [0.2, 2.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_by_transform_it_reads_the_same(seconds, rate):
    """Noise that swells, so that quiet blocks are gated, in a batch with silence."""
    samples = round(seconds * rate)
    signal = torch.randn(3, 2, samples) * torch.linspace(0, 0.3, samples) ** 2
    signal[1] = 0
    found, expected = loudness_by_transform(signal, rate), loudness(signal, rate)
    assert found[1] == -math.inf
    assert torch.allclose(found[[0, 2]].double(), expected[[0, 2]], atol=0.01)
