"""The Mamba layer: against the published code's output, and what any causal sequence layer must do."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unbraid.errors import ConfigError
from unbraid.layers.convolution import CausalDepthwiseConv
from unbraid.layers.mamba import Mamba, MambaConfig, SelectiveSystem
from unbraid.weights.adapters.mamba_ssm import mamba_state_dict


def test_the_published_mixer(golden):
    file = golden("mamba_mixer_a")
    layer = Mamba(8)
    weights = {name.removeprefix("weights/"): t for name, t in file.items() if name.startswith("weights/")}
    layer.load_state_dict(mamba_state_dict(weights))
    assert torch.allclose(layer(file["input"]), file["output"], atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(layer(file["input"]), file["f64/output"], atol=1e-5)
    assert torch.allclose(layer.double()(file["input"].double()).float(), file["f64/output"], atol=1e-6)


def test_the_causal_convolution_is_a_padded_grouped_conv1d():
    conv, features = CausalDepthwiseConv(5, 4), torch.randn(2, 13, 5)
    expected = F.conv1d(F.pad(features.transpose(1, 2), (3, 0)), conv.weight[:, None], conv.bias, groups=5)
    assert torch.allclose(conv(features), expected.transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize(("dim", "parameters"), [(32, 0), (48, 0)])
def test_parameters_are_counted(dim, parameters):
    """widen, conv with bias, select, step with bias, A, D, narrow."""
    rank = math.ceil(dim / 16)
    expected = 2 * dim**2 + 5 * dim + dim * (rank + 16) + (rank + 1) * dim + 8 * dim + dim + dim**2
    assert sum(p.numel() for p in Mamba(dim).parameters()) == expected


def test_initial_rates_and_steps_are_those_of_mamba():
    system = SelectiveSystem(512, MambaConfig(state_size=4))
    assert torch.allclose(system.log_rate.exp(), torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(512, 4))
    assert torch.equal(system.skip, torch.ones(512))
    steps = F.softplus(system.step_bias)
    assert steps.min() > 0.99e-3
    assert steps.max() < 1.01e-1
    assert 0.4 < (steps.log() < math.log(1e-2)).float().mean() < 0.6


@pytest.mark.parametrize("config", [MambaConfig(), MambaConfig(state_size=3, conv_size=1, expand=2, step_rank=5)])
@pytest.mark.parametrize("frames", [1, 2, 37])
def test_any_length_and_every_gradient(config, frames):
    layer, features = Mamba(6, config), torch.randn(2, frames, 6)
    layer(features).square().mean().backward()
    assert layer(features).shape == features.shape
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A does nothing before there is a state to decay, and so on.
        assert frames == 1 or parameter.grad.abs().max() > 0, name


def test_it_does_not_see_the_future_and_remembers_the_past():
    layer, features = Mamba(6).double(), torch.randn(1, 40, 6, dtype=torch.float64)
    outputs = layer(features)
    assert torch.allclose(outputs[:, :25], layer(features[:, :25]), atol=1e-13)
    changed = features.clone()
    changed[:, 0] += 1
    assert (layer(changed)[:, -1] - outputs[:, -1]).abs().max() > 1e-9


def test_sequences_do_not_mix_and_many_of_them_run_in_parts():
    layer, features = Mamba(4), torch.randn(301, 9, 4)
    with torch.inference_mode():
        outputs = layer(features)
        assert torch.allclose(outputs[200:203], layer(features[200:203]), atol=1e-6)
    assert torch.allclose(outputs, layer(features), atol=1e-6)


def test_bfloat16_autocast_trains():
    layer, features = Mamba(16), torch.randn(2, 30, 16)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(features)
    assert torch.allclose(outputs.float(), layer(features), atol=0.02)
    outputs.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_gradients_are_the_same_with_checkpointing():
    layer, features = Mamba(6), torch.randn(3, 20, 6)
    layer(features).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    checkpoint(layer, features, use_reentrant=False).square().sum().backward()
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


def test_a_whole_model_in_bfloat16_runs():
    assert Mamba(16).bfloat16()(torch.randn(1, 9, 16).bfloat16()).dtype == torch.bfloat16


def test_large_steps_over_a_long_sequence_stay_finite():
    layer = Mamba(4)
    with torch.no_grad():
        layer.system.step_bias.fill_(50.0)
        assert layer(100 * torch.randn(2, 5000, 4)).isfinite().all()


def test_it_exports_for_any_number_of_sequences():
    layer, features = Mamba(4).eval(), torch.randn(5, 6, 4)
    with torch.no_grad():
        exported = torch.export.export(layer, (features,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
        many = torch.randn(150, 6, 4)
        assert torch.allclose(exported(many), layer(many), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"state_size": 0}, {"step_rank": 0}, {"min_step": 1.0}, {"conv_size": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MambaConfig(**wrong)
