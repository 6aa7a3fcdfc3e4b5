"""Augmentations: each keeps shape and finiteness, leaves silence alone, and does what its name says."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.cli.overrides import apply_overrides
from unbraid.data.augment import (
    ChannelSwap,
    Codec,
    Equaliser,
    Gain,
    HighPass,
    Loudness,
    LowPass,
    PitchTempo,
    Polarity,
    Speed,
    augment,
    biquads,
    stretch_of,
)
from unbraid.data.augment.codecs import through_codec
from unbraid.data.augment.speed import change_pitch_and_tempo
from unbraid.data.mixing.levels import Level, loudness_lufs, measure_db, rms, to_level
from unbraid.errors import ConfigError
from unbraid.recipes import RECIPES

ALL = [
    ChannelSwap(probability=1.0),
    Codec(probability=1.0),
    Equaliser(probability=1.0),
    Gain(probability=1.0),
    HighPass(probability=1.0),
    Loudness(probability=1.0),
    LowPass(probability=1.0),
    PitchTempo(probability=1.0),
    Polarity(probability=1.0),
    Speed(probability=1.0),
]
every = pytest.mark.parametrize("augmentation", ALL, ids=lambda augmentation: type(augmentation).__name__)


def noise(channels, num_samples, seed=0, amplitude=0.1):
    samples = np.random.default_rng(seed).standard_normal((channels, num_samples))
    return (amplitude * samples).astype(np.float32)


def tone(hz, rate, seconds=1.0, amplitude=0.1):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))[None].astype(np.float32)


def peak_hz(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1])))
    return spectrum.argmax() * rate / samples.shape[1]


@every
@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 2),
    num_samples=st.one_of(st.integers(1, 40), st.integers(500, 6000)),
    rate=st.sampled_from([8000, 11_025, 16_000, 32_000, 44_100, 48_000]),
    amplitude=st.sampled_from([1e-6, 0.1, 3.0]),
    seed=st.integers(0, 1000),
)
def test_shape_type_and_finiteness_are_kept(augmentation, channels, num_samples, rate, amplitude, seed):
    samples = noise(channels, num_samples, seed, amplitude)
    before = samples.copy()
    after, again = (augmentation.apply(samples, rate, np.random.default_rng(seed)) for _ in range(2))
    assert after.shape == samples.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    assert np.array_equal(after, again)
    assert np.array_equal(samples, before)


@every
def test_settings_name_it_by_its_kind(augmentation):
    text = f'mixing.augmentations=[{{"kind": "{augmentation.kind}", "probability": 1.0}}]'
    assert apply_overrides(RECIPES["speech"].config, [text]).mixing.augmentations == (augmentation,)


@every
def test_silence_stays_silent(augmentation):
    for channels in (1, 2):
        after = augmentation.apply(np.zeros((channels, 9000), np.float32), 16_000, np.random.default_rng(0))
        assert after.shape == (channels, 9000)
        assert not after.any()


@every
def test_a_probability_is_how_often_it_is_done(augmentation):
    samples = noise(2, 400, amplitude=0.05)
    generator = np.random.default_rng(0)
    some = (replace(augmentation, probability=0.25),)
    changed = sum(not np.array_equal(augment(samples, some, 8000, generator), samples) for _ in range(300))
    assert 45 <= changed <= 105 or (isinstance(augmentation, LowPass) and changed > 0)
    assert augment(samples, (replace(augmentation, probability=0.0),), 8000, generator) is samples
    with pytest.raises(ConfigError, match="probability"):
        replace(augmentation, probability=1.5)


def test_gain_polarity_and_swap():
    samples = noise(2, 1000)
    generator = np.random.default_rng(0)
    gains = [measure_db(ALL[3].apply(samples, 8000, generator), "rms", 8000) for _ in range(200)]
    level = measure_db(samples, "rms", 8000)
    assert level - 10.01 <= min(gains) < level - 9
    assert level + 9 < max(gains) <= level + 10.01
    assert np.array_equal(Polarity().apply(samples, 8000, generator), -samples)
    assert np.array_equal(ChannelSwap().apply(samples, 8000, generator), samples[::-1])


def test_loudness_comes_out_as_drawn():
    after = Loudness(range_lufs=(-20.0, -20.0)).apply(noise(2, 80_000), 16_000, np.random.default_rng(0))
    assert loudness_lufs(after, 16_000) == pytest.approx(-20, abs=0.01)


def test_loudness_is_that_of_the_standard():
    # EBU Tech 3341: a stereo tone of 1 kHz at -23 dB has -23 LUFS, a full-scale tone in one channel -3.01.
    loud = tone(1000, 48_000, 20.0, amplitude=10 ** (-23 / 20))
    assert loudness_lufs(np.repeat(loud, 2, axis=0), 48_000) == pytest.approx(-23.0, abs=0.05)
    assert loudness_lufs(tone(997, 48_000, 5.0, 1.0), 48_000) == pytest.approx(-3.01, abs=0.05)
    # Case 3: a soft passage before and after falls under the relative gate.
    parts = [(10, -36.0), (60, -23.0), (10, -36.0)]
    steps = np.concatenate([tone(1000, 48_000, seconds, 10 ** (db / 20)) for seconds, db in parts], axis=1)
    assert loudness_lufs(np.repeat(steps, 2, axis=0), 48_000) == pytest.approx(-23.0, abs=0.1)
    for rate in (16_000, 32_000, 44_100):
        assert loudness_lufs(tone(997, rate, 5.0, 1.0), rate) == pytest.approx(-3.01, abs=0.1)
    assert loudness_lufs(np.zeros((1, 8000), np.float32), 8000) == -np.inf


def test_levels():
    samples = noise(2, 4000)
    assert rms(samples) == pytest.approx(np.sqrt(np.mean(np.square(samples, dtype=np.float64))), rel=1e-5)
    for measure in ("rms", "mean-amplitude", "lufs"):
        assert measure_db(to_level(samples, -20.0, measure, 8000), measure, 8000) == pytest.approx(-20, abs=0.01)
    assert measure_db(to_level(samples, -6.0, "as-recorded", 8000), "rms", 8000) == pytest.approx(
        measure_db(samples, "rms", 8000) - 6, abs=0.01
    )
    generator = np.random.default_rng(0)
    normal = Level(mean_db=-5.0, spread_db=4.0, distribution="normal", limits_db=(-10.0, 0.0))
    levels = [normal.draw(generator) for _ in range(500)]
    assert (min(levels), max(levels)) == (-10, 0)
    assert np.mean(levels) == pytest.approx(-5, abs=0.5)
    with pytest.raises(ConfigError, match="limits_db"):
        Level(limits_db=(0.0, -1.0))


@pytest.mark.parametrize(("rate", "num_samples"), [(8000, 6000), (8000, 140_000), (44_100, 6000), (44_100, 120_001)])
def test_filters_agree_with_the_recursion(rate, num_samples):
    samples = noise(2, num_samples)
    sections = (
        biquads.low_pass(2500.0, 0.707, rate),
        biquads.high_pass(90.0, 0.707, rate),
        biquads.peak(1000.0, 2.0, -6.0, rate),
        biquads.low_shelf(200.0, 0.707, 5.0, rate),
        biquads.high_shelf(2000.0, 0.707, -5.0, rate),
    )
    expected = samples.astype(np.float64)
    for b, a in sections:
        expected = scipy.signal.lfilter(b, a, expected)
    np.testing.assert_allclose(biquads.apply_biquads(samples, sections), expected, atol=2e-6)


def test_filters_take_what_they_say():
    generator = np.random.default_rng(0)
    high, low = tone(6000, 16_000), tone(20, 16_000)
    assert rms(LowPass(range_hz=(1000.0, 1000.0)).apply(high, 16_000, generator)) < 0.1 * rms(high)
    assert rms(HighPass(range_hz=(200.0, 200.0)).apply(low, 16_000, generator)[:, 4000:]) < 0.1 * rms(low)
    equaliser = Equaliser(range_hz=(1000.0, 1000.0), range_db=(6.0, 6.0), num_bands=(1, 1), shelf_probability=0.0)
    louder = equaliser.apply(tone(1000, 16_000), 16_000, generator)
    assert measure_db(louder[:, 4000:], "rms", 16_000) - measure_db(tone(1000, 16_000), "rms", 16_000) == pytest.approx(
        6, abs=0.05
    )
    with pytest.raises(ConfigError, match="range_hz"):
        LowPass(range_hz=(100.0, 50.0))
    with pytest.raises(ConfigError, match="num_bands"):
        Equaliser(num_bands=(0, 2))


@pytest.mark.parametrize(("semitones", "tempo"), [(0.0, 1.1), (2.0, 1.0), (-3.0, 0.9)])
def test_pitch_and_tempo_move_apart(semitones, tempo):
    rate = 16_000
    changed = change_pitch_and_tempo(tone(440, rate, 2.0), rate, semitones, tempo)
    assert changed.shape[1] == pytest.approx(2 * rate / tempo, abs=2)
    assert peak_hz(changed[:, 4000:-4000], rate) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.006)
    assert rms(changed) == pytest.approx(rms(tone(440, rate)), rel=0.15)
    # A click lies where the tempo puts it.
    click = np.zeros((1, 2 * rate), np.float32)
    click[:, rate : rate + 80] = 0.5
    moved = change_pitch_and_tempo(click, rate, semitones, tempo)
    centre = np.convolve(np.square(moved[0]), np.ones(160), mode="same").argmax()
    assert centre == pytest.approx((rate + 40) / tempo, abs=0.01 * rate)


def test_what_gets_shorter_is_read_longer():
    assert stretch_of((Speed(range_factor=(0.9, 1.25)), PitchTempo(range_tempo=(0.5, 1.2)), Gain())) == 1.5
    longer = tone(300, 16_000, 1.25)
    faster = Speed(range_factor=(1.25, 1.25), probability=1.0)
    kept = augment(longer, (faster,), 16_000, np.random.default_rng(0))[:, :16_000]
    assert np.abs(kept[:, -400:]).max() > 0.09


@pytest.mark.parametrize("name", ["mp3", "aac", "opus"])
@pytest.mark.parametrize("rate", [16_000, 44_100, 50_000])
def test_codecs_lose_something_and_keep_the_time(name, rate):
    samples = biquads.apply_biquads(noise(2, rate, amplitude=0.3), (biquads.low_pass(1500.0, 0.707, rate),))
    decoded = through_codec(samples, rate, name, 128.0)
    spectrum = np.fft.rfft(decoded[0], 2 * rate) * np.fft.rfft(samples[0], 2 * rate).conj()
    assert np.fft.irfft(spectrum).argmax() == 0
    error_db = 20 * np.log10(rms(decoded - samples) / rms(samples))
    assert -60 < error_db < -8
    # Louder than full scale comes back as loud.
    assert rms(through_codec(20 * samples, rate, name, 128.0)) == pytest.approx(20 * rms(samples), rel=0.1)


def test_codecs_refuse_more_than_two_channels():
    with pytest.raises(ConfigError, match="stereo"):
        through_codec(noise(3, 1000), 16_000, "mp3", 64.0)
    with pytest.raises(ConfigError, match="names"):
        Codec(names=())
