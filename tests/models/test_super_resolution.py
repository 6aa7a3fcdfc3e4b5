"""The super-resolution network: its size, what it does with nothing learned, its guess, and silence."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY
from unbraid.cli.main import app
from unbraid.errors import ConfigError
from unbraid.models.catalog import ARCHITECTURES, PRESETS, architecture_name, build_model, config_of
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.super_resolution.network import SuperResolution, SuperResolutionConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolution, WithSuperResolutionConfig
from unbraid.signal.assignment import cheapest_assignment
from unbraid.weights.store import load_model, save_model

NARROW = SuperResolutionConfig(window_ms=8.0, hidden_dims=(4, 6, 4), kernel_sizes=(3, 5, 3, 3))
FORMS = [
    NARROW,
    replace(NARROW, heuristic="none"),
    replace(NARROW, heuristic="estimate-over-mixture", ratio_cap=None),
    replace(NARROW, norm="global", last_activation="relu"),
    replace(NARROW, last_norm="global"),
    replace(NARROW, norm="none", split=0.3),
    replace(NARROW, correction="complex"),
    replace(NARROW, convolution="fft"),
]


def signals(num_samples=500, batch=2, sources=2, channels=1):
    estimates = 0.1 * torch.randn(batch, sources, channels, num_samples)
    return estimates.sum(1), estimates


def magnitudes(network, signal):
    return network.stft(signal).square().sum(-3).sqrt()


@pytest.mark.parametrize(("num_sources", "parameters"), [(2, 6_666_626), (3, 6_688_515)])
def test_it_has_the_papers_parameters(num_sources, parameters):
    network = SuperResolution(SuperResolutionConfig(), 8000, num_sources)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert (network.stft.n_fft, network.stft.hop, network.split_bin) == (256, 64, 64)


def test_the_window_keeps_its_duration():
    sizes = [SuperResolutionConfig().window_samples(rate) for rate in (8000, 16_000, 24_000, 44_100, 1000)]
    assert sizes == [256, 512, 768, 1408, 64]


@pytest.mark.parametrize("config", FORMS)
@pytest.mark.parametrize("num_samples", [1, 17, 500])
def test_a_network_of_zeros_gives_the_estimates_back(config, num_samples):
    network = SuperResolution(config, 8000, 2)
    for parameter in network.stages[-1].parameters():
        torch.nn.init.zeros_(parameter)
    mixture, estimates = signals(num_samples)
    assert torch.equal(network(mixture, estimates), estimates)


def test_a_norm_at_the_end_gives_residuals_of_either_sign_and_begins_nearly_at_nothing():
    """MedleyVox: ReLU and then a global norm after the last stage too."""
    config = replace(NARROW, last_activation="relu", last_norm="global")
    network = SuperResolution(config, 8000, 2)
    planes = torch.randn(3, len(network.stages[0].weight[0]), 17, 9).abs()
    with torch.inference_mode():
        out = network.convolved(planes)
    assert out.min() < 0 < out.max()
    assert out.mean((1, 2, 3)).abs().max() < 1e-6
    assert out.std() < 0.011
    assert sum(parameter.numel() for parameter in network.last_norm.parameters()) == 4


@pytest.mark.parametrize("config", FORMS)
@pytest.mark.parametrize("silent", ["one estimate", "estimates", "mixture", "all"])
def test_silence_is_finite_with_its_gradients(config, silent):
    network = SuperResolution(config, 8000, 2)
    mixture, estimates = signals()
    estimates[:, : {"one estimate": 1, "estimates": 2, "mixture": 0, "all": 2}[silent]] = 0
    mixture = mixture * (silent not in ("mixture", "all"))
    estimates.requires_grad_(True)
    mixture.requires_grad_(True)
    refined = network(mixture, estimates)
    assert refined.isfinite().all()
    refined.square().sum().backward()
    for tensor in (estimates, mixture, *network.parameters()):
        assert tensor.grad is None or tensor.grad.isfinite().all()


def test_the_guess_by_hand():
    """Two low bins, two high ones, one frame; the estimate has half of the mixture's low band, then next to nothing."""
    network = SuperResolution(replace(NARROW, ratio_cap=50.0, ratio_eps=1e-9), 8000, 2)
    network.split_bin = 2
    mixture = torch.tensor([3.0, 1.0, 5.0, 7.0]).reshape(1, 1, 4, 1)
    estimates = torch.tensor([[2.0, 0.0, 9.0, 9.0], [1e-4, 0.0, 0.0, 0.0]]).reshape(1, 2, 4, 1)
    guess = network.guessed_high_band(mixture, estimates)[0, :, :, 0]
    assert torch.allclose(guess, torch.tensor([[0.0, 0.0, 10.0, 14.0], [0.0, 0.0, 250.0, 350.0]]))
    network.config = replace(network.config, heuristic="estimate-over-mixture")
    guess = network.guessed_high_band(mixture, estimates)[0, 0, :, 0]
    assert torch.allclose(guess, torch.tensor([0.0, 0.0, 2.5, 3.5]))


def test_planes_are_mixture_then_estimates_then_guesses():
    network = SuperResolution(NARROW, 8000, 2)
    planes = []
    network.convolved = lambda given: planes.append(given) or given[:, :2]
    mixture, estimates = signals()
    spectra = network.stft(mixture), network.stft(estimates[:, :, 0])
    network.residual(*spectra)
    assert planes[0].shape[1] == 5
    assert torch.allclose(planes[0][:, 0], magnitudes(network, mixture)[:, 0])
    assert torch.allclose(planes[0][:, 1:3], magnitudes(network, estimates[:, :, 0]))
    assert not planes[0][:, 3:, : network.split_bin].any()


def test_magnitudes_change_and_phases_stay():
    network = SuperResolution(NARROW, 8000, 2)
    network.convolved = lambda planes: torch.full_like(planes[:, :2], -0.3)
    spectrum = network.stft(signals()[1][:, :, 0])
    spectrum = spectrum / spectrum.square().mean().sqrt()
    refined = spectrum + network.residual(spectrum[:, :1], spectrum)
    before, after = (found.square().sum(2).sqrt() for found in (spectrum, refined))
    clear = before > 0.05
    assert torch.allclose(after[clear], (before - 0.3).clamp_min(0)[clear], atol=2e-3)
    kept = clear & (after > 0.05)
    same = (spectrum * refined).sum(2) / (before * after)
    assert torch.allclose(same[kept], torch.ones(()), atol=1e-4)


def test_the_complex_form_can_turn_phases():
    network = SuperResolution(replace(NARROW, correction="complex"), 8000, 2)
    spectrum = network.stft(signals()[1][:, :, 0]) + 1.0
    quarter = torch.tensor([0.0, 1.0]).repeat(2)[None, :, None, None]
    network.convolved = lambda planes: quarter.expand(planes.shape[0], -1, *planes.shape[2:])
    change = network.residual(spectrum[:, :1], spectrum)
    expected = torch.view_as_real(
        1j * torch.sgn(torch.view_as_complex(spectrum.permute(0, 1, 3, 4, 2).contiguous()))
    ).permute(0, 1, 4, 2, 3)
    assert torch.allclose(change, expected, atol=1e-2)


@pytest.mark.parametrize("config", FORMS)
def test_levels_channels_and_rows_are_kept_apart(config):
    network = SuperResolution(config, 8000, 3)
    torch.nn.init.normal_(network.stages[-1].weight, std=0.1)
    mixture, estimates = signals(sources=3, channels=2)
    with torch.no_grad():
        refined = network(mixture, estimates)
        assert not torch.allclose(refined, estimates, atol=1e-3)
        louder = network(100 * mixture, 100 * estimates)
        assert torch.allclose(louder, 100 * refined, atol=1e-4 * louder.abs().max())
        right = network(mixture[:1, 1:], estimates[:1, :, 1:])
    assert torch.allclose(right, refined[:1, :, 1:], atol=1e-5)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_it_goes_on_every_separator_and_back_from_disk(preset, tmp_path):
    separator = build_model(preset, **TINY[preset])
    if isinstance(separator, WithSuperResolution):
        separator = separator.separator
    model = build_model(WithSuperResolutionConfig(separator=separator.config, super_resolution=NARROW))
    assert model.spec == separator.spec
    again = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert again.config == model.config
    mixture = 0.1 * torch.randn(1, model.spec.num_channels, 300)
    with torch.inference_mode():
        assert torch.equal(again(mixture), model(mixture))
    assert {name.partition(".")[0] for name in model.state_dict()} == {"separator", "super_resolution"}


def test_every_architecture_can_be_wrapped():
    wrapped = {architecture_name(config) for config in PRESETS.values()} - {"with-super-resolution"}
    assert wrapped == set(ARCHITECTURES) - {"with-super-resolution", "demucs", "pymss", "ensemble"}


class Halves(SeparationModel):
    """A separator that no catalog knows."""

    config = None
    spec = ModelSpec(sample_rate=8000, num_channels=1, sources=("a", "b"), exchangeable=True, chunk_seconds=1.0)

    def forward(self, mixture):
        return torch.stack([mixture / 2, mixture / 2], dim=1)


def test_it_goes_around_a_model_that_is_there_already():
    model = WithSuperResolution(Halves(), NARROW).eval()
    mixture = torch.randn(1, 1, 400)
    with torch.inference_mode():
        estimates = model.intermediate_estimates(mixture)
        assert torch.equal(estimates[-1], model(mixture))
    assert len(estimates) == 2
    assert torch.equal(estimates[0][:, 0], mixture / 2)


class Crooked(SeparationModel):
    """Errs differently upside down, and there names its two sources the other way round."""

    config = None
    spec = ModelSpec(sample_rate=8000, num_channels=1, sources=("a", "b"), exchangeable=True, chunk_seconds=1.0)

    def forward(self, mixture):
        estimates = torch.stack([mixture + mixture.square(), 0.1 * mixture.abs() - mixture], dim=1)
        return torch.where(mixture[:, None, :, :1] < 0, estimates.flip(1), estimates)


def test_of_both_polarities_what_differs_cancels():
    model, mixture = WithSuperResolution(Crooked(), NARROW, both_polarities=True).eval(), torch.randn(3, 1, 400)
    mixture[:, :, 0] = torch.tensor([[1.0], [-1.0], [0.5]])
    expected = torch.stack([mixture, -mixture], dim=1)
    expected[1] = expected[1].flip(0)  # the order is that of the mixture as it is
    with torch.inference_mode():
        stage, last = model.intermediate_estimates(mixture)
        assert torch.allclose(model.separate(mixture), expected, atol=1e-6)
        assert torch.equal(stage, model.separate(mixture))
        assert torch.equal(last, model(mixture))
        model.spec = replace(model.spec, exchangeable=False)
        assert not torch.allclose(model.separate(mixture), expected, atol=0.1), "stems are never put in another order"


@pytest.mark.parametrize("name", ["s4m-tiny-post-filter", "s4m-tiny-super-resolution"])
def test_both_polarities_make_an_odd_function_that_is_stored(name, tmp_path):
    config = config_of(build_model(name, **TINY[name]))
    model = build_model(replace(config, both_polarities=True)).eval()
    again = load_model(save_model(model, tmp_path / "both.safetensors", name="both"))
    mixture = 0.1 * torch.randn(2, 1, 900)
    with torch.inference_mode():
        refined = model(mixture)
        assert torch.equal(again(mixture), refined)
        # Its estimates may come in the other order.
        upside_down = -model(-mixture)
        order = cheapest_assignment(-torch.einsum("bocs, bics -> boi", upside_down, refined))
        upside_down = upside_down.gather(1, order[:, :, None, None].expand_as(upside_down))
        assert torch.allclose(upside_down, refined, atol=1e-5)
        assert not torch.allclose(model.separate(mixture), model.separator(mixture), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_sizes": (5, 9, 11)},
        {"kernel_sizes": (5, 8, 11, 11)},
        {"hidden_dims": (128, 0, 128)},
        {"window_ms": 0.0},
        {"split": 1.0},
        {"ratio_eps": 0.0},
        {"correction": "complex", "last_activation": "relu"},
    ],
)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError):
        SuperResolutionConfig(**settings)


def test_the_command_line_reaches_into_both_parts():
    changes = ["model.separator=SFCConfig", "model.separator.num_bands=32", "model.super_resolution.correction=complex"]
    arguments = [part for change in changes for part in ("--set", change)]
    result = CliRunner().invoke(app, ["train", "s4m-strided-sr", "--settings", *arguments])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "model.separator: SFCConfig" in lines
    assert "  model.separator.num_bands=32" in lines
    assert "  model.super_resolution.correction=complex" in lines
