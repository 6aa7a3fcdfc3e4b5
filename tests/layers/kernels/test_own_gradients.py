"""Fast forms with gradients of their own give those of their slow twins, and step aside where they do not serve."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unbraid.layers.activation import PReLU
from unbraid.layers.convolution import DepthwiseConv
from unbraid.layers.kernels.depthwise import DepthwiseFilter, depthwise_filter, depthwise_filter_reference
from unbraid.layers.kernels.moments import moments, moments_by_steps, moments_reference
from unbraid.layers.kernels.prelu import SlopedRelu, prelu


def assert_same_gradients(ours, theirs, tensors):
    weight = torch.randn_like(theirs)
    assert torch.allclose(ours, theirs, atol=1e-12)
    found = torch.autograd.grad((ours * weight).sum(), tensors)
    expected = torch.autograd.grad((theirs * weight).sum(), tensors)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 4), (0, 4)])
def test_prelu(shape):
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    assert_same_gradients(SlopedRelu.apply(features, slope), F.prelu(features, slope), [features, slope])


@pytest.mark.parametrize("slope", [0.0, -0.5, 1.5])
def test_prelu_with_any_slope(slope):
    """A slope that has wandered below zero too; the leaky ReLU under it must not go by the sign of its output."""
    features = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([slope], dtype=torch.float64, requires_grad=True)
    assert_same_gradients(SlopedRelu.apply(features, weight), F.prelu(features, weight), [features, weight])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 12, 13])
@pytest.mark.parametrize("num_taps", [1, 3, 5])
def test_depthwise_filter(num_taps, num_frames, stride, bias):
    features = torch.randn(2, num_frames, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, num_taps, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(4, dtype=torch.float64, requires_grad=True) if bias else None
    tensors = [features, weight] + ([shift] if shift is not None else [])
    ours = DepthwiseFilter.apply(features, weight, shift, stride)
    assert_same_gradients(ours, depthwise_filter_reference(features, weight, shift, stride), tensors)


@pytest.mark.parametrize("dim", [(1,), (1, 2)])
def test_moments(dim):
    features = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    ours, theirs = (torch.stack(function(features, dim)) for function in (moments, moments_reference))
    assert_same_gradients(ours, theirs, [features])
    assert torch.allclose(torch.stack(moments_by_steps(features, dim)), theirs)


def test_training_in_float32_on_a_cpu_takes_the_fast_forms(monkeypatch):
    """Else the tests above would compare what nobody runs."""
    taken = []
    monkeypatch.setattr(DepthwiseFilter, "apply", lambda *operands: taken.append("filter") or operands[0])
    monkeypatch.setattr(SlopedRelu, "apply", lambda *operands: taken.append("prelu") or operands[0])
    features = torch.randn(2, 9, 4)
    depthwise_filter(features, torch.randn(4, 3), None, 1)
    prelu(features, torch.tensor([0.3]))
    assert taken == ["filter", "prelu"]
    with torch.no_grad():
        depthwise_filter(features, torch.randn(4, 3), None, 1)
    assert len(taken) == 2


def test_frozen_filters_and_slopes_get_no_gradient():
    layers = nn.Sequential(DepthwiseConv(4, 5), PReLU()).requires_grad_(False)
    features = torch.randn(2, 9, 4, requires_grad=True)
    layers(features).sum().backward()
    assert features.grad is not None
    assert all(parameter.grad is None for parameter in layers.parameters())


def test_compilers_and_other_precisions_see_pytorch_alone():
    layers = nn.Sequential(DepthwiseConv(4, 5), PReLU())
    features = torch.randn(2, 9, 4)
    expected = layers(features)
    exported = torch.export.export(layers.eval(), (features,)).module()
    assert torch.allclose(exported(features), expected, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = layers(features)
    assert torch.allclose(half.float(), expected, atol=0.1)
