"""Resampling keeps length, time and content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.audio.rate import PromptResampler, Resampler, resample, resampled_length
from unbraid.errors import ConfigError
from unbraid.signal.lengths import fit_length

RATES = [(44_100, 16_000), (16_000, 44_100), (48_000, 44_100), (8_000, 48_000), (44_100, 44_101), (22_050, 8_000)]


def band_limited(rate: int, seconds: float, highest_hz: float) -> np.ndarray:
    """Sines below `highest_hz` with soft ends, so that nothing but the resampler can spoil them."""
    time = np.arange(round(rate * seconds)) / rate
    frequencies = np.linspace(0.03, 0.95, 23) * highest_hz
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, 23)
    wave = np.sin(2 * np.pi * frequencies[:, None] * time + phases[:, None]).mean(axis=0)
    return (wave * np.hanning(len(time)))[np.newaxis].astype(np.float32)


@pytest.mark.parametrize(("there", "back"), RATES)
def test_a_round_trip_keeps_more_than_90_db(there, back):
    original = band_limited(there, 1.0, 0.55 * min(there, back) / 2)
    returned = fit_length(resample(resample(original, there, back), back, there), original.shape[1])
    ratio_db = 10 * np.log10((original**2).sum() / ((returned - original) ** 2).sum())
    assert ratio_db > 90


@pytest.mark.parametrize(("there", "back"), RATES)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.85])
def test_levels_are_kept_to_a_hundredth_of_a_decibel(there, back, part):
    hz = part * min(there, back) / 2
    before, after = (np.sin(2 * np.pi * hz * np.arange(rate) / rate) * np.hanning(rate) for rate in (there, back))
    change = resample(before[np.newaxis].astype(np.float32), there, back)[0] @ after / (after @ after)
    assert abs(20 * np.log10(change)) < 0.01


@pytest.mark.parametrize(("there", "back"), RATES)
def test_a_click_stays_where_it_is(there, back):
    click = np.zeros((1, there), np.float32)
    click[0, there // 2] = 1
    assert abs(int(resample(click, there, back)[0].argmax()) - back / 2) <= 1


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(1, 3_000),
    rates=st.sampled_from([*RATES, (1_000, 384_000), (384_000, 1_000), (383_999, 1_009), (44_100, 44_100)]),
    sizes=st.lists(st.integers(1, 1_500), min_size=1, max_size=5),
)
def test_neither_length_nor_content_depends_on_the_blocks(num_samples, rates, sizes):
    if rates[1] == 384_000:
        num_samples = min(num_samples, 200)
    samples = np.random.default_rng(num_samples).standard_normal((2, num_samples)).astype(np.float32)
    whole = resample(samples, *rates)
    assert whole.shape == (2, resampled_length(num_samples, *rates))
    resampler = Resampler(*rates, num_channels=2)
    parts, start = [], 0
    while start < num_samples:
        size = sizes[len(parts) % len(sizes)]
        parts.append(resampler.push(samples[:, start : start + size]))
        start += size
    parts.append(resampler.finish())
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@given(num_samples=st.integers(0, 10**12), there=st.integers(1_000, 384_000), back=st.integers(1_000, 384_000))
def test_there_and_back_is_never_shorter(num_samples, there, back):
    away = resampled_length(num_samples, there, back)
    assert resampled_length(away, back, there) >= num_samples
    assert (away > 0) == (num_samples > 0)
    assert resampled_length(num_samples, there, there) == num_samples


@pytest.mark.parametrize("rates", [(1_000, 384_000), (384_000, 1_000), (16_000, 44_100), (44_100, 44_100)])
@pytest.mark.parametrize("num_samples", [0, 1, 2])
def test_almost_nothing_is_resampled_too(rates, num_samples):
    result = resample(np.ones((3, num_samples), np.float32), *rates)
    assert result.shape == (3, resampled_length(num_samples, *rates))
    assert np.isfinite(result).all()


def test_channels_do_not_mix():
    samples = np.zeros((3, 4_000), np.float32)
    samples[1] = np.random.default_rng(0).standard_normal(4_000)
    result = resample(samples, 16_000, 22_050)
    assert not result[0].any()
    assert not result[2].any()
    np.testing.assert_array_equal(result[1], resample(samples[1:2], 16_000, 22_050)[0])


def test_misuse_is_explained():
    with pytest.raises(ConfigError, match="1,000 to 384,000"):
        Resampler(500, 16_000, 1)
    with pytest.raises(ConfigError, match="expected \\(2, samples\\)"):
        Resampler(8_000, 16_000, 2).push(np.zeros((1, 5), np.float32))


def resample_promptly(samples, there, back, size):
    resampler = PromptResampler(there, back, samples.shape[0])
    outputs, taken, given = [], 0, 0
    for start in range(0, samples.shape[1], size):
        outputs.append(resampler.push(samples[:, start : start + size]))
        taken, given = min(start + size, samples.shape[1]), given + outputs[-1].shape[1]
        assert taken / there - given / back < 33 / min(there, back)
    return np.concatenate([*outputs, resampler.finish()], axis=1)


@pytest.mark.parametrize(("there", "back"), [*RATES, (48_000, 16_000), (16_000, 16_000)])
def test_the_prompt_one_holds_back_32_samples_and_gives_the_same(there, back):
    samples = np.concatenate([band_limited(there, 0.3, 0.8 * min(there, back) / 2)] * 2)
    samples[1] *= -2
    found = resample_promptly(samples, there, back, 320)
    expected = resample(samples, there, back)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(found, resample_promptly(samples, there, back, 777), atol=1e-6)


def test_what_the_prompt_one_cannot_keep_is_gone():
    tone = np.sin(2 * np.pi * 8_200 * np.arange(48_000) / 48_000)[None].astype(np.float32)
    found = resample_promptly(tone, 48_000, 16_000, 960)
    assert np.sqrt((found[:, 100:-100] ** 2).mean()) < 10 ** (-70 / 20)


@pytest.mark.parametrize("num_samples", [0, 1, 5])
def test_few_samples_pass_the_prompt_one(num_samples):
    samples = np.ones((1, num_samples), np.float32)
    assert resample_promptly(samples, 8_000, 16_000, 1).shape == (1, 2 * num_samples)
