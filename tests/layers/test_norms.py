"""Norms and convolutions against PyTorch's own, forward and backward."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unbraid.layers.convolution import DepthwiseConv, pool_average, resize_nearest
from unbraid.layers.kernels.moments import moments
from unbraid.layers.norms import GlobalLayerNorm, pooled_moments


def test_global_layer_norm_is_group_norm_with_one_group():
    norm, features = GlobalLayerNorm(5).double(), torch.randn(3, 11, 5, dtype=torch.float64) * 3 + 1
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    expected = F.group_norm(features.transpose(1, 2), 1, norm.weight, norm.bias, eps=1e-8).transpose(1, 2)
    assert torch.allclose(norm(features), expected, atol=1e-12)


def test_a_large_mean_costs_no_digits():
    """In float32, E[x^2] - E[x]^2 is off by half at a mean of a thousand deviations."""
    norm, features = GlobalLayerNorm(5), torch.randn(2, 200, 5, dtype=torch.float64) + 1000
    expected = F.group_norm(features.transpose(1, 2), 1, eps=1e-8).transpose(1, 2)
    assert torch.allclose(norm(features.float()).double(), expected, atol=1e-3)


def test_the_variance_of_a_million_numbers_keeps_six_digits():
    features = torch.randn(1, 8000, 128)
    _, variance = moments(features, dim=(1, 2))
    assert torch.allclose(variance.double(), features.double().var(correction=0), rtol=1e-6, atol=0)


def test_moments_of_features_give_those_of_all():
    features = torch.randn(2, 30, 4, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 7
    pooled, whole = pooled_moments(*moments(features, dim=(1,))), moments(features, dim=(1, 2))
    assert all(torch.allclose(one, other) for one, other in zip(pooled, whole, strict=True))


def test_its_gradient_is_right():
    norm = GlobalLayerNorm(3).double()
    features = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, features)


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (5, 1), (5, 2)])
def test_depthwise_convolution_is_a_grouped_conv1d(kernel_size, stride):
    conv, features = DepthwiseConv(4, kernel_size, stride), torch.randn(2, 13, 4)
    expected = F.conv1d(
        features.transpose(1, 2), conv.weight[:, None], conv.bias, stride, kernel_size // 2, groups=4
    ).transpose(1, 2)
    assert torch.allclose(conv(features), expected, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(7, 14), (7, 13), (7, 50), (14, 7), (13, 7), (1, 5)])
def test_resizing_is_nearest_neighbour_interpolation(source, target):
    features = torch.randn(2, source, 3)
    expected = F.interpolate(features.transpose(1, 2), size=target, mode="nearest").transpose(1, 2)
    assert torch.equal(resize_nearest(features, target), expected)


def test_pooling_keeps_the_mean_of_even_spans():
    features = torch.randn(2, 12, 3)
    assert torch.allclose(pool_average(features, 3), features.unflatten(1, (3, 4)).mean(2), atol=1e-6)
