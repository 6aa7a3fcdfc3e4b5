"""What MTFA finds alike: the maps are those of its own forward, and the pictures are there."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY
from unbraid.audio.formats import Encoding
from unbraid.audio.writing import write_audio
from unbraid.cli.main import app
from unbraid.errors import ConfigError
from unbraid.inspection.similarity import analyse_similarity
from unbraid.layers.axis_attention import TemporalFrequencyConfig
from unbraid.models.catalog import build_model
from unbraid.models.mtfa.model import LEVELS
from unbraid.pictures.similarity import write_similarity
from unbraid.weights.store import save_model

MIXTURE = 0.1 * torch.randn(2, 9001, generator=torch.Generator().manual_seed(0))


def build(**options):
    return build_model("mtfa", **TINY["mtfa"] | options)


@pytest.mark.parametrize("form", ["axial", "light", "global"])
def test_every_level_is_shown_at_its_own_steps(form):
    """9001 samples are 282 frames of 4 ms, filled up to 288, and 64 bins of 62.5 Hz."""
    analysis = analyse_similarity(build(attention=TemporalFrequencyConfig(form=form)), MIXTURE)
    assert {one.name for one in analysis.maps} == {
        f"{place}_{axis}" for place in LEVELS for axis in ("time", "frequency")
    }
    sizes = {one.name: (one.weights.shape[-1], one.step) for one in analysis.maps}
    assert sizes["E3_time"] == (71, 0.016)
    assert sizes["E3_frequency"] == (16, 250.0)
    assert sizes["C1_time"] == (9, 0.128)
    assert sizes["C1_frequency"] == (1, 4000.0)
    for one in analysis.maps:
        assert (one.weights.sum(axis=-1) <= 1 + 1e-5).all()
        assert one.weights.min() >= 0


def test_a_map_is_the_mean_over_the_bins():
    """Also where forward takes a few rows at a time."""
    model = build(places=("E3",), attention=TemporalFrequencyConfig(order="time"))
    rows = []
    path = model.core.after["E3"].time
    path.register_forward_pre_hook(lambda _, arguments: rows.append(arguments[0]))
    whole = analyse_similarity(model, MIXTURE).maps[0].weights
    with torch.inference_mode():
        by_hand = path.weights(torch.cat(rows))[1].mean(dim=0)
    assert np.allclose(whole, by_hand[:, :71, :71], atol=1e-6)
    model.core.after["E3"].tokens_at_once = 1
    assert np.allclose(analyse_similarity(model, MIXTURE).maps[0].weights, whole, atol=1e-6)


def test_looking_leaves_no_trace():
    model = build()
    with torch.inference_mode():
        before = model(MIXTURE[None])
        analyse_similarity(model, MIXTURE)
        assert torch.equal(model(MIXTURE[None]), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_period_shows_as_a_distance():
    """A bar of 0.512 s that comes again and again: even untrained attention sees that moments a bar apart are alike."""
    bar = torch.randn(2, 4096, generator=torch.Generator().manual_seed(1)) * torch.hann_window(4096) ** 4
    model = build(places=("E3",), attention=TemporalFrequencyConfig(order="time", num_heads=1))
    attention = model.core.after["E3"].time.attention
    with torch.no_grad():
        attention.query_key_value.weight[:4] = attention.query_key_value.weight[4:8] = 2 * torch.eye(4)
    one = analyse_similarity(model, bar.repeat(1, 6)).maps[0]
    shares, period = one.by_distance()[0], round(0.512 / one.step)
    assert shares[period] > 1.05 * shares[period // 2]
    assert shares[period] == shares[period - 4 : period + 5].max()


def test_a_pyramid_shows_every_step():
    attention = TemporalFrequencyConfig(pyramid=(1, 2), positions="relative")
    analysis = analyse_similarity(build(places=("E3",), attention=attention), MIXTURE)
    sizes = {one.name: (one.weights.shape[-1], one.step) for one in analysis.maps}
    assert sizes["E3_time"] == (71, 0.016)
    assert sizes["E3_time_by_2"] == (36, 0.032)


def test_without_attention_there_is_nothing_to_see():
    with pytest.raises(ConfigError, match="no attention"):
        analyse_similarity(build(places=()), MIXTURE)


def test_pictures_and_arrays_are_written(tmp_path):
    paths = write_similarity(analyse_similarity(build(), MIXTURE), tmp_path / "new")
    names = [path.name for path in paths]
    assert names == [*(f"attention-{place}.png" for place in LEVELS), "attention.npz"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[:-1])
    with np.load(paths[-1]) as arrays:
        assert arrays["E4_time"].shape == (4, 36, 36)
        assert arrays["E4_frequency_step"] == 500


def test_on_the_command_line_of_a_trained_file(tmp_path):
    save_model(build(places=("E4",)), tmp_path / "mine.safetensors")
    write_audio(tmp_path / "song.wav", MIXTURE.numpy(), 8000, Encoding())
    arguments = ["models", "show", str(tmp_path / "mine.safetensors"), "--attention", str(tmp_path / "song.wav")]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["attention-E4.png", "attention.npz"]
