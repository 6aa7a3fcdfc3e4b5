"""Several models as one: each joint stem is what its definition says of what the models give alone."""

import tracemalloc

import numpy as np
import pytest
import torch

from unbraid import Separator
from unbraid.errors import ConfigError, UnknownNameError
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.separation import separator as module
from unbraid.separation.compositions.combining import Combiner
from unbraid.separation.events import Block


class Gains(SeparationModel):
    """Stems that are the mixture at fixed gains."""

    def __init__(self, gains, rate=8000, exchangeable=False):
        super().__init__()
        self.gains = torch.tensor(list(gains.values()))
        self.spec = ModelSpec(
            sample_rate=rate, num_channels=1, sources=tuple(gains), exchangeable=exchangeable, chunk_seconds=1.0
        )

    def forward(self, mixture):
        return mixture[:, None] * self.gains[:, None, None]


class Halves(SeparationModel):
    """Two 'speakers' below and above 1 kHz, in a given order."""

    def __init__(self, gain, turned):
        super().__init__()
        self.gain, self.turned = gain, turned
        self.spec = ModelSpec(
            sample_rate=8000, num_channels=1, sources=("speaker1", "speaker2"), exchangeable=True, chunk_seconds=2.0
        )

    def forward(self, mixture):
        spectrum = torch.fft.rfft(mixture)
        spectrum[..., round(mixture.shape[-1] / 8) :] = 0
        low = torch.fft.irfft(spectrum, n=mixture.shape[-1])
        parts = [low, mixture - low]
        return self.gain * torch.stack(parts[::-1] if self.turned else parts, dim=1)


MODELS = {
    "a": lambda: Gains({"vocals": 0.5, "drums": 0.25}),
    "b": lambda: Gains({"drums": 0.125, "vocals": -1.0, "bass": 0.1}),
    "c": lambda: Gains({"vocals": 0.75}),
    "low": lambda: Gains({"vocals": 1.0}, rate=4000),
    "speech": lambda: Gains({"dialogue": 0.5, "vocals": 0.25}),
    "talk": lambda: Halves(1.0, turned=False),
    "turned": lambda: Halves(0.5, turned=True),
    "three": lambda: Gains({"speaker1": 1.0, "speaker2": 0.0, "speaker3": 0.0}, exchangeable=True),
}


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    monkeypatch.setattr(module, "load_model", lambda name: MODELS[name]())


def noise(channels, samples):
    return (np.random.default_rng(0).standard_normal((channels, samples)) * 0.1).astype(np.float32)


def stems_of(name, mixture, rate=8000, **settings):
    return {stem: heard.samples for stem, heard in Separator(name, **settings).separate(mixture, rate).items()}


@pytest.mark.parametrize("num_samples", [1, 799, 30_011])
@pytest.mark.parametrize(
    ("name", "vocals"),
    [
        ("a+b", (0.5 - 1.0) / 2),
        ("0.75*a+0.25*b", 0.75 * 0.5 - 0.25),
        ("median(a, b, c)", 0.5),
        ("min(a, b)", 0.5),
        ("max(a, b)", -1.0),
        ("mean_spectrum(a, b)", -0.25),
        ("median_spectrum(a, b, c)", 0.5),
        ("min_spectrum(a, b, c)", 0.5),
        ("max_spectrum(a, b)", -1.0),
        ("max(min(a, b), c)", 0.75),
    ],
)
def test_an_ensemble_is_what_its_name_says(name, vocals, num_samples):
    mixture = noise(2, num_samples)
    stems = stems_of(name, mixture)
    assert np.abs(stems["vocals"] - vocals * mixture).max() < 2e-6


def test_stems_are_matched_by_name_and_the_others_told():
    mixture = noise(1, 9000)
    separator = Separator("a+b")
    assert separator.spec.sources == ("vocals", "drums")
    assert separator.remarks == ("stems that only some of the models have are left out: bass",)
    stems = separator.separate(mixture, 8000)
    assert np.abs(stems["drums"].samples - (0.25 + 0.125) / 2 * mixture).max() < 1e-6


def test_above_the_band_of_a_model_only_the_others_count():
    time = np.arange(16_000) / 8000
    low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 3000 * time)
    stem = stems_of("c+low", 0.1 * (low + high).astype(np.float32)[None])["vocals"][0, 2000:-2000]
    expected = 0.1 * (0.875 * low + 0.75 * high)[2000:-2000]
    assert np.abs(stem - expected).max() < 1e-3


def test_speakers_are_aligned():
    time = np.arange(48_000) / 8000
    slow = np.sin(2 * np.pi * 0.3 * time) > 0
    mixture = (0.1 * (np.sin(2 * np.pi * 400 * time) * slow + np.sin(2 * np.pi * 2000 * time) * ~slow))[None]
    alone = stems_of("talk", mixture.astype(np.float32))
    joint = stems_of("talk+turned", mixture.astype(np.float32))
    for stem, samples in alone.items():
        assert np.abs(joint[stem] - 0.75 * samples).max() < 1e-4


def test_a_chain_separates_a_stem_again():
    mixture = noise(2, 20_011)
    stems = stems_of("a | speech on vocals", mixture)
    assert list(stems) == ["drums", "dialogue", "vocals"]
    for stem, gain in {"drums": 0.25, "dialogue": 0.25, "vocals": 0.125}.items():
        assert np.abs(stems[stem] - gain * mixture).max() < 1e-6


def test_a_chain_keeps_what_is_named():
    mixture = noise(1, 9000)
    stems = stems_of("vocals: b | dialogue: speech", mixture)
    assert list(stems) == ["dialogue"]
    assert np.abs(stems["dialogue"] + 0.5 * mixture).max() < 1e-6


def test_a_chain_of_three_and_a_name_twice():
    mixture = noise(1, 9000)
    stems = stems_of("b | a on vocals | c on bass", mixture)
    assert list(stems) == ["drums", "vocals", "drums of vocals", "vocals of bass"]
    assert np.abs(stems["drums of vocals"] + 0.25 * mixture).max() < 1e-6
    assert np.abs(stems["vocals of bass"] - 0.075 * mixture).max() < 1e-6


def test_the_stems_of_several_models_are_treated_as_those_of_one():
    mixture = noise(1, 9000)
    stems = stems_of("a+b", mixture, two_stems="vocals", other_method="minus")
    assert np.abs(stems["minus_vocals"] - 1.25 * mixture).max() < 1e-6
    stems = stems_of("a | speech on vocals", mixture, consistency="residual", remix={"drums": -float("inf")})
    assert np.abs(stems["residual"] - 0.375 * mixture).max() < 1e-6
    assert np.abs(stems["remix"] - 0.75 * mixture).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("a+talk", ConfigError, "only one of them separates speakers"),
        ("talk+three", ConfigError, "2 and 3 speakers"),
        ("c+(dialogue: speech)", ConfigError, "no stem in common"),
        ("a | c", ConfigError, "which stem"),
        ("a | c on piano", UnknownNameError, "no stem 'piano' for c"),
        ("piano: a", UnknownNameError, "a has no stem 'piano'"),
    ],
)
def test_what_does_not_go_together_is_said(name, error, said):
    with pytest.raises(error, match=said):
        Separator(name)


def test_joined_in_blocks_of_any_size_it_is_the_same():
    values = np.random.default_rng(1).standard_normal((3, 2, 5000)).astype(np.float32)
    whole = None
    for size in (5000, 777, 61):
        combiner = Combiner("median", "spectrum", (1.0, 1.0, 1.0), 8000, (8000, 8000, 8000))
        parts = [combiner.push(values[..., start : start + size]) for start in range(0, 5000, size)]
        joined = np.concatenate([*parts, combiner.finish()], axis=-1)
        assert joined.shape == (2, 5000)
        whole = joined if whole is None else whole
        assert np.abs(joined - whole).max() < 1e-6


@pytest.mark.parametrize("name", ["max_spectrum(a, b)", "a | speech on vocals"])
def test_memory_does_not_grow_with_the_recording(name):
    peaks = []
    for seconds in (10, 40):
        mixture = noise(1, 8000 * seconds)
        separator = Separator(name)
        tracemalloc.start()
        for event in separator.stream(mixture, 8000):
            assert not isinstance(event, Block) or event.samples.shape[-1] < 8000 * 8
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000  # what is given takes 3.2 MB more
