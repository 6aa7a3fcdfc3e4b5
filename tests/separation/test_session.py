"""A live session at any rate: the same sound as the whole, no longer, and nothing that poisons it."""

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from unbraid.audio.rate import PromptResampler
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.separation.session import LiveSeparator


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model("s4m-live", **TINY["s4m-live"])


def draw(num_samples):
    return (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


def run(separator, samples, sizes):
    outputs, place = [], 0
    for size in sizes:
        outputs.append(separator.push(samples[place : place + size]))
        place += size
        assert min(place, len(samples)) - sum(output.shape[1] for output in outputs) <= separator.latency_samples
    return np.concatenate([*outputs, separator.flush()], axis=1)


def test_at_its_own_rate_it_is_the_model(model):
    samples = draw(3001)
    separator = LiveSeparator(model)
    assert separator.latency_samples == model.spec.latency_samples
    with torch.inference_mode():
        whole = model(torch.from_numpy(samples)[None, None])[0, :, 0].numpy()
    for _ in range(2):
        np.testing.assert_allclose(run(separator, samples, [0, 1, 999, 320, 1681]), whole, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_at_another_rate_it_is_as_long_and_in_time(model, rate):
    samples = draw(rate // 4 + 7)
    separator = LiveSeparator(model, rate)
    found = run(separator, samples, [rate // 50] * 13)
    assert found.shape == (2, len(samples))
    assert separator.latency_ms < 1000 * model.spec.latency_samples / 16000 + 9
    there, back = PromptResampler(rate, 16000, 1), PromptResampler(16000, rate, 2)
    at_model = np.concatenate([there.push(samples[None]), there.finish()], axis=1)
    with torch.inference_mode():
        whole = model(torch.from_numpy(at_model)[None])[0, :, 0].numpy()
    expected = np.concatenate([back.push(whole), back.finish()], axis=1)[:, : len(samples)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_no_number_is_silence_and_counted(model):
    samples = draw(3000)
    silent, poisoned = samples.copy(), samples.copy()
    silent[[5, 700, 701]] = 0
    poisoned[[5, 700, 701]] = np.nan, np.inf, 1e30
    separator, clean = LiveSeparator(model), LiveSeparator(model)
    found = run(separator, poisoned, [1000, 2000])
    np.testing.assert_array_equal(found, run(clean, silent, [1000, 2000]))
    assert (separator.replaced_samples, clean.replaced_samples) == (3, 0)


def test_a_model_that_looks_ahead_is_refused():
    with pytest.raises(ConfigError, match="s4m-live"):
        LiveSeparator(build_model("s4m-tiny", **TINY["s4m-tiny"]))
