"""SFC with one set of weights for any rate and number of bands, and what is read anew where weights belong to bands."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY, TINY_LOCOFORMER
from unbraid.cli.main import app
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import SFC, SFCConfig
from unbraid.models.sfc.resizing import interpolation, resized
from unbraid.signal.bands import build_bands
from unbraid.weights.store import inspect_model, load_model, save_model

ATTENTION = CrossAttentionConfig(inner_dim=8, num_heads=2, queries="sampled", positional_bias="sampled")
FREE = {
    "attention": ATTENTION,
    "attention, one table": replace(ATTENTION, queries="shared"),
    "attention, slopes": replace(ATTENTION, positional_bias="slope"),
    "mamba": MambaCompressionConfig(inner_dim=6, queries="sampled"),
    "mamba, one table": MambaCompressionConfig(inner_dim=6, queries="shared"),
}


def build(compression, sample_rate=16_000, num_bands=16, **settings):
    return SFC(
        SFCConfig(
            sample_rate=sample_rate,
            num_channels=1,
            band_scale="hertz",
            num_bands=num_bands,
            compression=compression,
            separator=TINY_LOCOFORMER,
            **settings,
        )
    ).eval()


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_bands_by_frequency_are_the_musical_ones_at_44_1_khz():
    by_hertz, musical = build_bands("hertz", 1025, 64, 44_100 / 2048), build_bands("musical", 1025, 64)
    assert (by_hertz.starts, by_hertz.ends) == (musical.starts, musical.ends)


@pytest.mark.parametrize(("rate", "n_fft", "count"), [(8000, 256, 48), (16_000, 768, 54), (48_000, 2304, 64)])
def test_bands_by_frequency_lie_where_they_lie_at_any_rate(rate, n_fft, count):
    """So many as there is sound for: 21.5 Hz x 1024^(k / 63) is below 4 kHz for 48 of them, below 8 kHz for 54."""
    table, reference = (
        build_bands("hertz", n_fft // 2 + 1, 64, rate / n_fft),
        build_bands("hertz", 1025, 64, 44_100 / 2048),
    )
    assert table.num_bands == count
    assert table.coverage().min() >= 1
    here, there = torch.tensor(table.centres) * rate / n_fft, torch.tensor(reference.centres) * 44_100 / 2048
    assert torch.allclose(here[:count], there[:count], rtol=1e-5)


@pytest.mark.parametrize("name", FREE)
def test_one_set_of_weights_serves_any_rate_and_any_number_of_bands(name):
    model = build(FREE[name])
    for rate, num_bands in ((8000, 16), (44_100, 16), (16_000, 9), (22_050, 30)):
        other = resized(model, sample_rate=rate, num_bands=num_bands)
        assert size(other) == size(model)
        assert other.config.bin_hz == pytest.approx(model.config.bin_hz, rel=0.005)
        own = dict(other.named_parameters())
        assert all(torch.equal(value, own[key]) for key, value in model.named_parameters())
        with torch.inference_mode():
            estimates = other(0.1 * torch.randn(1, 1, 3001))
        assert estimates.shape == (1, 4, 1, 3001)
        assert estimates.isfinite().all()
    mixture = 0.1 * torch.randn(1, 1, 2000)
    with torch.inference_mode():
        assert torch.equal(resized(model)(mixture), model(mixture))


@pytest.mark.parametrize("name", FREE)
def test_everything_learns_and_comes_back_from_disk(name, tmp_path):
    model = build(FREE[name]).train()
    model(0.1 * torch.randn(2, 1, 4000)).pow(3).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    again = load_model(save_model(model.eval(), tmp_path / "model.safetensors"))
    assert size(again) == size(model)
    mixture = 0.1 * torch.randn(1, 1, 1000)
    with torch.inference_mode():
        assert torch.equal(again(mixture), model(mixture))


def test_one_table_for_both_halves_is_one_parameter():
    own, shared = build(ATTENTION), build(replace(ATTENTION, queries="shared"))
    assert size(own) - size(shared) == shared.core.encoder.queries.table.numel()
    assert shared.core.decoder.queries.table is shared.core.encoder.queries.table


def test_queries_and_biases_depend_on_frequency_alone():
    """At one frequency they are the same at two rates whose bins have one width."""
    low, high = build(ATTENTION, 12_000, n_fft=512), build(ATTENTION, 24_000, n_fft=1024)
    for model in (low, high):
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if name.endswith(".table"):
                torch.nn.init.normal_(parameter)
    narrow, wide = (model.core.decoder.queries(None)[0] for model in (low, high))
    assert torch.allclose(narrow, wide[: len(narrow)], atol=1e-4)
    narrow, wide = (model.core.encoder.bias() for model in (low, high))
    bands = narrow.shape[1] - 1  # the last reaches to the end of the spectrum
    assert torch.allclose(narrow[:, :bands], wide[:, :bands, : narrow.shape[2]], atol=1e-3)


def test_a_sampled_bias_begins_as_the_decay():
    model = build(ATTENTION)
    assert torch.equal(model.core.encoder.bias(), model.config.bands.locality().expand(2, -1, -1))


def test_interpolation_by_hand():
    matrix = interpolation(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([-1.0, 0.5, 1.0, 2.0, 9.0]))
    assert matrix.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]


def test_a_learnt_matrix_is_moved_to_other_bands():
    """What training has added stays; where it added nothing, the new bands have their own initial values."""
    model = build_model("sfc-ca-small", **TINY["sfc-ca-small"])
    other = resized(model, num_bands=12)
    assert torch.allclose(other.core.decoder.bias(), other.config.bands.locality().expand(2, -1, -1), atol=1e-4)
    model.core.encoder.bias.matrix.data += 3.0
    assert torch.allclose(
        resized(model, num_bands=5).core.encoder.bias(), build_bands("musical", 33, 5).locality() + 3, atol=1e-4
    )
    mixture = 0.1 * torch.randn(1, 2, 900)
    with torch.inference_mode():
        assert torch.allclose(resized(model)(mixture), model(mixture), atol=1e-5)
        assert resized(model, sample_rate=16_000)(mixture).shape == (1, 4, 2, 900)


@pytest.mark.parametrize("preset", ["bs-small", "sfc-mamba-small"])
def test_weights_that_belong_to_their_bands_are_not_moved(preset):
    with pytest.raises(ConfigError, match="belongs to the bands"):
        resized(build_model(preset, **TINY[preset]), num_bands=9)


def test_too_few_bands_for_the_rate_are_refused():
    with pytest.raises(ConfigError, match="choose more"):
        build_bands("hertz", 17, 3, 4.0)


def test_the_command_line_exports_with_other_bands(tmp_path):
    file, out = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    save_model(build(ATTENTION), file)
    arguments = ["models", "export", str(file), "--bands", "9", "--rate", "22050", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (load_model(out).config.num_bands, load_model(out).spec.sample_rate) == (9, 22_050)
    assert inspect_model(out).facts == {
        "changed_after_training": "model",
        "sha256_of_the_trained": inspect_model(file).sha256,
    }
    arguments[2:4] = [
        str(save_model(build_model("s4m-tiny", **TINY["s4m-tiny"]), tmp_path / "s.safetensors")),
        "--bands",
    ]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert "has no bands" in refused.output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "attention, one table"])
def test_the_core_exports_for_any_number_of_frames(name):
    core = build(FREE[name]).core
    dynamic = {"spectrum": {4: torch.export.Dim.AUTO}}
    spectrum = torch.randn(1, 1, 2, 385, 20)
    program = torch.export.export(core, (spectrum,), dynamic_shapes=dynamic, strict=False).module()
    longer = torch.randn(1, 1, 2, 385, 33)
    with torch.inference_mode():
        assert torch.allclose(program(longer), core(longer), atol=1e-5)
