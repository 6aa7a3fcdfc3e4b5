"""The post-filter: what it sees, what it does with nothing learned, levels, channels, silence, and its way to disk."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.post_filter import PostFilter, PostFilterConfig
from unbraid.weights.store import load_model, save_model

NARROW: PostFilterConfig = TINY["s4m-tiny-post-filter"]["super_resolution"]  # type: ignore[assignment]


def build(num_sources=2, **changes):
    return PostFilter(replace(NARROW, **changes), 8000, num_sources).eval()


def signals(num_samples=500, batch=2, sources=2, channels=1):
    estimates = 0.1 * torch.randn(batch, sources, channels, num_samples)
    return estimates.sum(1) + 0.05 * torch.randn(batch, channels, num_samples), estimates


@pytest.mark.parametrize("num_samples", [1, 2, 3, 17, 500])
def test_a_network_of_zeros_gives_the_estimates_back(num_samples):
    network = build()
    torch.nn.init.zeros_(network.gather.weight)
    mixture, estimates = signals(num_samples)
    assert torch.allclose(network(mixture, estimates), estimates, atol=1e-6)


def test_weights_choose_among_the_mixture_and_the_estimates():
    network, (mixture, estimates) = build(), signals()
    torch.nn.init.zeros_(network.gather.weight)
    # Of the first: the mixture without the second; of the second: the first.
    network.gather.bias.data = torch.tensor([1.0, -1.0, -1.0, 0.0, 1.0, -1.0]).repeat(3, 4)
    refined = network(mixture, estimates)
    assert torch.allclose(refined[:, 0], mixture - estimates[:, 1], atol=1e-6)
    assert torch.allclose(refined[:, 1], estimates[:, 0], atol=1e-6)


def test_it_sees_powers_relative_to_the_mixture_and_how_alike_signals_are():
    """Of a mixture that is its first estimate and, turned round, the second."""
    network = build(narrow_bands=3, num_bands=1)
    mixture, _ = signals()
    spectra = network.stft(torch.stack([mixture, mixture, -0.1 * mixture], dim=1).flatten(0, 1)).unflatten(0, (2, 3))
    described = network.describe(7 * spectra).unflatten(-1, (3, 6))
    whole, first, second = (described[..., about] for about in range(3))
    assert torch.allclose(whole, first)
    loud = whole > -0.8
    assert loud.float().mean() > 0.8
    assert torch.allclose((whole - second)[loud], torch.tensor(0.2 * 2 * 2.302585), atol=3e-3)
    assert torch.allclose(described[..., 3:][loud].mean(0), torch.tensor([1.0, -1.0, -1.0]), atol=1e-3)
    mean = (described[..., 0] / 0.2).exp() @ torch.tensor(
        [float((network.band_of_bin == band).sum()) for band in range(3)]
    )
    assert torch.allclose(mean.mean((1, 2)) / 33, torch.ones(2), atol=1e-3)


@pytest.mark.parametrize("silent", ["one estimate", "mixture", "all"])
def test_silence_is_finite_with_its_gradients(silent):
    network, (mixture, estimates) = build(), signals()
    estimates[:, : {"one estimate": 1, "mixture": 0, "all": 2}[silent]] = 0
    mixture = (mixture * (silent == "one estimate")).requires_grad_()
    refined = network(mixture, estimates.requires_grad_())
    assert refined.isfinite().all()
    refined.square().sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (mixture, estimates, *network.parameters()))


def test_levels_and_rows_are_kept_apart_and_channels_weighed_together():
    network = build(num_sources=3)
    torch.nn.init.normal_(network.gather.weight, std=0.3)
    mixture, estimates = signals(sources=3, channels=2)
    with torch.no_grad():
        refined = network(mixture, estimates)
        assert not torch.allclose(refined, estimates, atol=1e-3)
        louder = network(100 * mixture, 100 * estimates)
        assert torch.allclose(louder, 100 * refined, atol=1e-4 * louder.abs().max())
        assert torch.allclose(network(mixture[:1], estimates[:1]), refined[:1], atol=1e-6)
        turned = network(mixture.flip(1), estimates.flip(2))
        assert torch.allclose(turned, refined.flip(2), atol=1e-6)


def test_it_learns_to_undo_leakage():
    """Estimates that hold a fifth of each other: told by powers alone, since the sources are of different bands."""
    torch.manual_seed(1)
    network = build()
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    time = torch.arange(800) / 8000
    tones = torch.stack([torch.sin(2 * torch.pi * pitch * time) for pitch in (440.0, 2600.0)])[None, :, None]
    leaky = tones + 0.2 * tones.flip(1)

    def error():
        return (network(tones.sum(1), leaky) - tones).square().mean()

    before = error().item()
    for _ in range(60):
        optimiser.zero_grad()
        error().backward()
        optimiser.step()
    assert error().item() < 0.05 * before


def test_it_is_stored_with_its_separator_and_refuses_bands_that_do_not_fit(tmp_path):
    model = build_model("s4m-tiny-post-filter", **TINY["s4m-tiny-post-filter"])
    again = load_model(save_model(model, tmp_path / "model.safetensors", name="refined"))
    assert again.config == model.config
    mixture = 0.1 * torch.randn(1, 1, 900)
    with torch.no_grad():
        assert torch.equal(again(mixture), model(mixture))
    with pytest.raises(ConfigError, match="shared out"):
        PostFilterConfig(narrow_bands=100, num_bands=16)
    with pytest.raises(ConfigError, match="do not fit"):
        PostFilter(PostFilterConfig(window_ms=8.0), 8000, 2)
