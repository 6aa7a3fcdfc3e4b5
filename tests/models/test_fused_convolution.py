"""Convolutions that take along what follows them are those of two passes."""

import pytest
import torch

from unbraid.models.resunet.fused_convolution import (
    can_fuse,
    conv_plus,
    conv_plus_reference,
    conv_then_leaky,
    conv_then_leaky_reference,
)

PLANES = [(1, 1, 1, 3), (2, 5, 7, 3), (1, 32, 16, 3)]


@pytest.fixture(autouse=True)
def _possible():
    with torch.inference_mode():
        if not can_fuse(torch.zeros(1, 2, 2, 3)):
            pytest.skip("this PyTorch has no oneDNN")
        yield


@pytest.mark.parametrize("shape", PLANES)
def test_with_a_leaky_relu(shape):
    features, weight, bias = torch.randn(shape), torch.randn(4, 3, 3, 3), torch.randn(4)
    expected = conv_then_leaky_reference(features, weight, bias, 0.01)
    assert torch.allclose(conv_then_leaky(features, weight, bias, 0.01), expected, atol=1e-5)


@pytest.mark.parametrize("shape", PLANES)
def test_with_a_sum(shape):
    features, weight, plus = torch.randn(shape), torch.randn(4, 3, 3, 3), torch.randn(*shape[:3], 4)
    expected = conv_plus_reference(features, weight, plus)
    assert torch.allclose(conv_plus(features, weight, plus.clone()), expected, atol=1e-5)


def test_only_inference_in_float32_is_fused():
    assert not can_fuse(torch.zeros(1, 2, 2, 3, dtype=torch.float64))
    with torch.inference_mode(False), torch.enable_grad():
        assert not can_fuse(torch.zeros(1, 2, 2, 3))
