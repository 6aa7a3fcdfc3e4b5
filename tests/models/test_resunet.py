"""ResUNetDecouple+: the authors' numbers, its size, its heads in closed form, and every option."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from unbraid.cli.main import app
from unbraid.errors import ConfigError, WeightsError
from unbraid.layers.norms import BatchNorm
from unbraid.models.catalog import build_model
from unbraid.models.resunet.config import ResUNetConfig, plane_at
from unbraid.models.resunet.heads import apply_head
from unbraid.models.resunet.stages import DecoderStage, ResidualUnit
from unbraid.weights.foreign import convert_weights
from unbraid.weights.store import load_model

GOLDEN_CONFIG = ResUNetConfig(channels=(4, 5, 6, 7, 8), n_fft=128, hop=28, level="as-given")
TINY = {"sample_rate": 8000, "n_fft": 128, "hop": 32, "channels": (4, 4, 4, 4, 8)}


@pytest.fixture
def tensors(golden):
    return golden("resunet_decouple_a")


@pytest.fixture
def foreign(tensors):
    return {name.removeprefix("weights/"): tensor for name, tensor in tensors.items() if name.startswith("weights/")}


def on_meta(config):
    """The model without memory for its weights."""
    with torch.device("meta"):
        return build_model(config)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_it_has_the_papers_size():
    assert count(on_meta(ResUNetConfig())) == 102_571_278


def test_it_has_143_convolutions():
    model = on_meta(ResUNetConfig())
    units = [module for module in model.modules() if isinstance(module, ResidualUnit)]
    shortcuts = [unit for unit in units if unit.shortcut is not None]
    decoders = [module for module in model.modules() if isinstance(module, DecoderStage)]
    assert 2 * len(units) + len(decoders) + 1 == 143
    # Those that only fit sizes are not counted in the name.
    assert len(shortcuts) == 5 + 6


def test_stretching_layers_begin_within_the_bound_of_the_transposed_convolution():
    """PyTorch's own Xavier for one: each tap of the kernel counts on the side of the input too."""
    model = build_model("resunet", **TINY)
    stage = next(module for module in model.modules() if isinstance(module, DecoderStage))
    taps = stage.step[0] * stage.step[1]
    dim_in, dim_out = stage.stretch.in_features, stage.stretch.out_features // taps
    drawn = nn.init.xavier_uniform_(torch.empty(dim_in, dim_out, *stage.step))
    bound = (6 / (taps * (dim_in + dim_out))) ** 0.5
    assert drawn.abs().max() <= bound
    assert 0.7 * bound < stage.stretch.weight.abs().max() <= bound
    assert bound < 0.9 * (6 / (dim_in + taps * dim_out)) ** 0.5, "a linear map alone would begin wider"


@pytest.mark.parametrize("gradients", [False, True])
def test_the_authors_numbers_come_out(tensors, foreign, gradients):
    """Without gradients through the fused convolutions, with them through the plain ones."""
    model = convert_weights(foreign, "resunet-authors", GOLDEN_CONFIG)
    with torch.set_grad_enabled(gradients):
        maps = model.core.maps(model.stft(tensors["input"]))
        output = model(tensors["input"])
    expected = tensors["head_maps"].unflatten(1, (1, 2, 4)).transpose(-1, -2)
    # The published code fills up the topmost bin with zeros.
    assert not expected[..., -1, :].any()
    assert torch.allclose(maps, expected[..., :-1, :], atol=1e-3)
    assert torch.allclose(output, tensors["output"].unsqueeze(1), atol=1e-4)


def test_the_head_alone_gives_the_authors_spectra(tensors):
    maps = tensors["head_maps"].unflatten(1, (1, 2, 4)).transpose(-1, -2)
    phase = torch.stack([tensors["cos_in"], tensors["sin_in"]], dim=2).transpose(-1, -2)
    spectrum = tensors["mag"].unsqueeze(2).transpose(-1, -2) * phase
    estimate = apply_head("decoupled", maps, spectrum)
    for part, name in enumerate(("spec_real", "spec_imag")):
        expected = tensors[name].unflatten(0, (2, 1, 2)).squeeze(3).transpose(-1, -2)
        # Spectra go up to 27, so that this is a few units in float32's last place; 3.8e-6 was found.
        assert torch.allclose(estimate[:, :, :, part], expected, rtol=0, atol=1e-5)


def test_unit_mask_and_no_rotation_give_the_mixture():
    spectrum = torch.randn(2, 2, 2, 5, 7)
    maps = torch.zeros(2, 3, 2, 4, 5, 7)
    maps[:, :, :, 0], maps[:, :, :, 1] = 100.0, 1.0
    estimates = apply_head("decoupled", maps, spectrum)
    assert torch.allclose(estimates, spectrum.unsqueeze(1).expand_as(estimates), atol=1e-6)


def test_a_quarter_turn_and_a_direct_magnitude():
    """(p, r) = (0, 1) turns by 90 degrees; q alone sets the magnitude."""
    spectrum = torch.randn(1, 1, 2, 5, 7)
    maps = torch.zeros(1, 1, 1, 4, 5, 7)
    maps[:, :, :, 0], maps[:, :, :, 2], maps[:, :, :, 3] = -100.0, 0.5, 3.0
    real, imag = apply_head("decoupled", maps, spectrum)[0, 0, 0]
    unit = spectrum[0, 0] / torch.linalg.vector_norm(spectrum[0, 0], dim=0)
    assert torch.allclose(real, -3 * unit[1], atol=1e-5)
    assert torch.allclose(imag, 3 * unit[0], atol=1e-5)


def test_a_magnitude_below_zero_is_silence():
    maps = torch.zeros(1, 1, 1, 4, 5, 7)
    maps[:, :, :, 1], maps[:, :, :, 3] = 1.0, -1e3
    assert not apply_head("decoupled", maps, torch.randn(1, 1, 2, 5, 7)).any()


def test_the_other_heads():
    spectrum, maps = torch.randn(1, 2, 2, 5, 7), torch.randn(1, 3, 2, 2, 5, 7)
    assert torch.equal(apply_head("complex", maps, spectrum), maps)
    mask = maps[:, :, :, :1]
    assert torch.equal(apply_head("magnitude", mask, spectrum), mask.sigmoid() * spectrum.unsqueeze(1))


@pytest.mark.parametrize(
    "options",
    [
        {"input": "complex"},
        {"head": "complex"},
        {"head": "magnitude"},
        {"subbands": 4},
        {"subbands": 4, "input": "complex", "head": "complex", "num_channels": 1},
        {"sources": ("bass", "drums", "vocals", "other")},
        {"level": "as-given"},
        {"width": 0.5},
        {"n_fft": 192, "hop": 48},
    ],
)
def test_every_option_separates_and_learns(options):
    model = build_model("resunet", **TINY | options).train()
    mixture = 0.1 * torch.randn(2, model.spec.num_channels, 1777)
    estimates = model(mixture)
    assert estimates.shape == (2, model.spec.num_sources, model.spec.num_channels, 1777)
    estimates.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_mask_of_one_everywhere_gives_the_mixture_back():
    """Through STFT, sub-bands, padding, cropping and back; all but the topmost bin, which stays silent."""
    for options in ({}, {"subbands": 4}, {"n_fft": 192, "hop": 48}):
        model = build_model("resunet", **TINY | options, head="magnitude")
        torch.nn.init.zeros_(model.core.head.weight)
        torch.nn.init.constant_(model.core.head.bias, 100.0)
        time = torch.arange(3001) / 8000
        mixture = 0.1 * torch.sin(2 * torch.pi * torch.tensor([440.0, 1000.0])[:, None] * time).unsqueeze(0)
        with torch.inference_mode():
            assert torch.allclose(model(mixture)[:, 0], mixture, atol=1e-3)


def test_subbands_come_back_to_their_places():
    """A network of one linear map per place moves each bin to where it came from."""
    model = build_model("resunet", **TINY, subbands=4, input="complex", head="complex", level="as-given")
    core = model.core
    core.unet = lambda features: features
    core.head = torch.nn.Identity()
    spectrum = torch.randn(1, 2, 2, 65, 9)
    maps = core.maps(spectrum)
    assert torch.allclose(maps[:, 0], spectrum[..., :-1, :], atol=1e-4)


def test_inference_is_the_same_with_and_without_fused_convolutions(monkeypatch):
    model = build_model("resunet", **TINY)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    mixture = 0.1 * torch.randn(2, 2, 2000)
    with torch.inference_mode():
        fused = model(mixture)
        monkeypatch.setattr("unbraid.models.resunet.stages.can_fuse", lambda features: False)
        assert torch.allclose(model(mixture), fused, atol=1e-5)


def test_planes_halve_from_stage_to_stage():
    config = ResUNetConfig()
    seen = {}
    model = build_model("resunet", **TINY)
    stages = {f"E{i + 1}": stage for i, stage in enumerate(model.core.encoders)}
    stages |= {f"C{i + 1}": stage for i, stage in enumerate(model.core.centre)}
    stages |= {f"D{i + 1}": stage for i, stage in enumerate(model.core.decoders)} | {"last": model.core.last}
    for place, stage in stages.items():
        stage.register_forward_hook(lambda _, __, out, place=place: seen.__setitem__(place, out.shape[1:]))
    with torch.inference_mode():
        model(torch.randn(1, 2, 1500))
    for place, (frames, freqs, dim) in seen.items():
        assert plane_at(model.config, place, 1500) == (frames, freqs)
        assert model.config.dim_at(place) == dim
    assert plane_at(config, "E1", 132_300) == (320, 1024)
    assert plane_at(config, "C1", 132_300) == (10, 16)


def test_other_rates_keep_the_windows_duration():
    assert (ResUNetConfig().fft_samples, ResUNetConfig().hop_samples) == (2048, 441)
    config = ResUNetConfig(sample_rate=16_000)
    assert (config.fft_samples, config.hop_samples) == (768, 160)


@pytest.mark.parametrize(
    "options",
    [{"n_fft": 17}, {"n_fft": 130, "subbands": 4}, {"hop": 2000}, {"width": 0.0}, {"channels": (1, 2, 3, 4, 0)}],
)
def test_sizes_that_do_not_fit_are_refused(options):
    with pytest.raises(ConfigError):
        ResUNetConfig(**options)


def test_loud_and_soft_are_learned_by_weights_that_know_levels(foreign):
    with pytest.raises(WeightsError, match='level="as-given"'):
        convert_weights(foreign, "resunet-authors", ResUNetConfig(channels=(4, 5, 6, 7, 8), n_fft=128, hop=28))


def test_import_on_the_command_line(tensors, foreign, tmp_path):
    save_file({f"model.{name}": tensor.contiguous() for name, tensor in foreign.items()}, tmp_path / "m.safetensors")
    settings = ("level=as-given", "channels=4,5,6,7,8", "hop=28", "n_fft=128")
    arguments = ["models", "import", str(tmp_path / "m.safetensors"), "--preset", "resunet"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "ours.safetensors")])
    assert result.exit_code == 0, result.output
    with torch.inference_mode():
        output = load_model(tmp_path / "ours.safetensors")(tensors["input"])
    assert torch.allclose(output, tensors["output"].unsqueeze(1), atol=1e-4)


def test_a_batch_of_silence_teaches_nothing_wrong():
    model = build_model("resunet", **TINY).train()
    model(torch.zeros(2, 2, 1500)).square().mean().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_batch_norm_is_pytorchs():
    ours, theirs = BatchNorm(5, momentum=0.1), torch.nn.BatchNorm2d(5, momentum=0.1)
    for _ in range(2):
        features = torch.randn(2, 3, 4, 5) * 2 + 1
        assert torch.allclose(ours.train()(features), theirs.train()(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)
    expected = theirs.eval()(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert torch.allclose(ours.eval()(features), expected, atol=1e-6)


def test_one_value_says_nothing_of_a_variance():
    norm = BatchNorm(3).train()
    assert torch.allclose(norm(torch.full((1, 1, 3), 2.0)), torch.full((1, 1, 3), 2.0), atol=1e-4)
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_an_untrained_network_says_half_of_the_mixture():
    model = build_model("resunet", **TINY)
    mixture = 0.1 * torch.randn(1, 2, 3000)
    with torch.inference_mode():
        error = model(mixture)[:, 0] - mixture / 2
    assert error.square().mean() < 0.05 * mixture.square().mean()


@pytest.mark.parametrize("level", ["normalised", "as-given"])
def test_the_spec_tells_how_loud_the_input_is_wanted(level):
    assert build_model("resunet", **TINY, level=level).spec.level == level
