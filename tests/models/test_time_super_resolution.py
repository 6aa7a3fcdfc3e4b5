"""Super-resolution of waveforms: its cost, what it does with nothing learned, levels, lengths, and its way to disk."""

import pytest
import torch

from tests.conftest import TINY
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.time_domain import TimeSuperResolution, TimeSuperResolutionConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.weights.store import load_model, save_model

NARROW = TimeSuperResolutionConfig(hidden_dim=6, kernel_size=3, num_blocks=2)


def signals(num_samples=500, batch=2, sources=2, channels=1):
    estimates = 0.1 * torch.randn(batch, sources, channels, num_samples)
    return estimates.sum(1), estimates


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 44_100])
def test_it_costs_what_the_papers_network_costs_at_any_rate(sample_rate):
    """Multiplications per second: 107.7 billion are the paper's, at 8 kHz for two sources."""
    config = TimeSuperResolutionConfig()
    stride = config.stride_samples(sample_rate)
    in_frame = config.num_blocks * config.kernel_size * config.hidden_dim**2 + 10 * stride * config.hidden_dim
    assert in_frame * sample_rate / stride == pytest.approx(107.7e9, rel=0.03)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 17, 500])
def test_a_network_of_zeros_gives_the_estimates_back(num_samples):
    network = TimeSuperResolution(NARROW, 8000, 2)
    torch.nn.init.zeros_(network.synthesis.weight)
    mixture, estimates = signals(num_samples)
    assert torch.equal(network(mixture, estimates), estimates)


def test_frames_and_back_are_the_signals():
    """Half of everything that each filter sees, put back where it was: each sample stands in two filters."""
    network = TimeSuperResolution(TimeSuperResolutionConfig(hidden_dim=12, num_blocks=1), 8000, 2).double()
    network.blocks = torch.nn.ModuleList()
    network.analysis.weight.data = torch.eye(12, dtype=torch.float64)
    network.analysis.bias.data.zero_()
    network.synthesis.weight.data = 0.5 * torch.eye(12, dtype=torch.float64)[4:]
    mixture, estimates = (signal.double() for signal in signals(501))
    assert torch.allclose(network.residual(mixture, estimates[:, :, 0]), estimates[:, :, 0])


@pytest.mark.parametrize("silent", ["one estimate", "mixture", "all"])
def test_silence_is_finite_with_its_gradients(silent):
    network = TimeSuperResolution(NARROW, 8000, 2)
    mixture, estimates = signals()
    estimates[:, : {"one estimate": 1, "mixture": 0, "all": 2}[silent]] = 0
    mixture = (mixture * (silent == "one estimate")).requires_grad_()
    refined = network(mixture, estimates.requires_grad_())
    assert refined.isfinite().all()
    refined.square().sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (mixture, estimates, *network.parameters()))


def test_levels_channels_and_rows_are_kept_apart():
    network = TimeSuperResolution(NARROW, 8000, 3)
    torch.nn.init.normal_(network.synthesis.weight, std=0.3)
    mixture, estimates = signals(sources=3, channels=2)
    with torch.no_grad():
        refined = network(mixture, estimates)
        assert not torch.allclose(refined, estimates, atol=1e-3)
        louder = network(100 * mixture, 100 * estimates)
        assert torch.allclose(louder, 100 * refined, atol=1e-4 * louder.abs().max())
        right = network(mixture[:1, 1:], estimates[:1, :, 1:])
    assert torch.allclose(right, refined[:1, :, 1:], atol=1e-5)


def test_it_reaches_as_far_as_its_convolutions():
    """13 taps, 1, 3, 9 and 27 frames apart: 240 frames of 2 samples either way at 8 kHz, and a filter."""
    config = TimeSuperResolutionConfig(hidden_dim=4)
    network = TimeSuperResolution(config, 8000, 1).double()
    estimates = torch.zeros(1, 1, 1, 2001, dtype=torch.float64, requires_grad=True)
    network(torch.randn(1, 1, 2001, dtype=torch.float64), estimates)[..., 1000].sum().backward()
    reached = estimates.grad[0, 0, 0].nonzero().flatten()
    assert 476 <= 1000 - int(reached.min()) <= 484
    assert 476 <= int(reached.max()) - 1000 <= 484


def test_it_goes_on_a_separator_and_back_from_disk(tmp_path):
    separator = build_model("s4m-tiny", **TINY["s4m-tiny"])
    model = build_model(WithSuperResolutionConfig(separator=separator.config, super_resolution=NARROW))
    again = load_model(save_model(model, tmp_path / "model.safetensors"))
    assert again.config == model.config
    mixture = 0.1 * torch.randn(1, 1, 300)
    with torch.inference_mode():
        assert torch.equal(again(mixture), model(mixture))
        assert torch.equal(model.intermediate_estimates(mixture)[-1], model(mixture))


@pytest.mark.parametrize("settings", [{"kernel_size": 4}, {"filter_ms": 0.0}, {"num_blocks": 0}])
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError):
        TimeSuperResolutionConfig(**settings)
