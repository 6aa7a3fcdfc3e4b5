"""Spectrograms with and without super-resolution: the numbers by hand, and any model draws."""

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from tests.conftest import TINY
from unbraid.cli.main import app
from unbraid.errors import ConfigError
from unbraid.inspection.refinement import analyse_refinement
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.time_domain import TimeSuperResolutionConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.weights.store import save_model

RATE = 8000


def tone(hertz, num_samples=8000):
    return torch.sin(2 * torch.pi * hertz * torch.arange(num_samples) / RATE)[None]


@pytest.fixture
def model():
    separator = build_model("s4m-tiny", **TINY["s4m-tiny"], sample_rate=RATE)
    return WithSuperResolution(separator, TimeSuperResolutionConfig(hidden_dim=6, num_blocks=1)).eval()


def test_what_changed_lies_where_it_was_changed(model):
    """A tenth of a tone above the split is added, nothing below."""
    low, high = tone(500.0), tone(3000.0)
    model.separator.forward = lambda mixture: torch.stack([low + high, low + high]).unsqueeze(0)
    model.super_resolution.forward = lambda mixture, estimates: estimates + 0.1 * high
    analysis = analyse_refinement(model, low + high, split_hz=2000.0)
    assert [stem.name for stem in analysis.stems] == list(model.spec.sources)
    below, above = analysis.stems[0].changed_db
    assert above == pytest.approx(20 * np.log10(0.1 / 1.1), abs=0.1)
    assert below < -50
    place = round(3000 / analysis.bin_hz)
    stem = analysis.stems[1]
    middle = stem.with_db.shape[1] // 2
    louder = stem.with_db[place, middle] - stem.without_db[place, middle]
    assert louder == pytest.approx(20 * np.log10(1.1), abs=0.1)
    assert analysis.mixture_db.max() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("preset", ["s4m-tiny", "s4m-tiny-super-resolution", "mtfa", "sfc-mamba-small", "fb-tiny"])
def test_any_model_shows_its_estimates(preset):
    model = build_model(preset, **TINY[preset])
    analysis = analyse_refinement(model, 0.1 * torch.randn(model.spec.num_channels, 3001))
    assert analysis.split_hz == model.spec.sample_rate / 4
    for stem in analysis.stems:
        assert stem.with_db.shape == analysis.mixture_db.shape
        assert (stem.without_db is not None) == (stem.changed_db is not None) == model.refines


def test_a_split_outside_the_band_is_refused(model):
    for wrong in (0.0, 4000.0, float("nan")):
        with pytest.raises(ConfigError, match="between 0 and 4000 Hz"):
            analyse_refinement(model, tone(500.0), split_hz=wrong)


def test_the_command_writes_a_picture_per_stem(model, tmp_path):
    weights, sound = tmp_path / "model.safetensors", tmp_path / "sound.wav"
    save_model(model, weights)
    soundfile.write(sound, 0.1 * torch.randn(9000).numpy(), RATE)
    out = tmp_path / "pictures"
    arguments = ["models", "show", str(weights), "--spectrograms", str(sound), "--seconds", "1", "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--split", "1500"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "spectrogram-speaker1.png",
        "spectrogram-speaker2.png",
        "spectrograms.npz",
    ]
    with np.load(out / "spectrograms.npz") as arrays:
        assert arrays["split_hz"] == 1500
        assert arrays["speaker1_with_db"].shape == arrays["speaker1_without_db"].shape == arrays["mixture_db"].shape
    refused = CliRunner().invoke(app, ["models", "show", str(weights), "--split", "1500"])
    assert refused.exit_code != 0
