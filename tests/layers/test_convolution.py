"""Forms of one operation for one device and another give the same."""

import pytest
import torch
from torch.nn import functional as F

from unbraid.layers.convolution import _pool_by_sums, pool_average
from unbraid.layers.kernels.depthwise import (
    depthwise_filter,
    depthwise_filter_by_slices,
    depthwise_filter_reference,
)


@pytest.mark.parametrize(("num_in", "num_out"), [(16, 4), (17, 4), (2003, 126), (5, 3), (3, 2), (7, 7), (9, 1)])
def test_pooling_by_sums_is_adaptive_pooling(num_in, num_out):
    features = torch.randn(2, num_in, 3, dtype=torch.float64)
    expected = F.adaptive_avg_pool1d(features.transpose(1, 2), num_out).transpose(1, 2)
    assert torch.allclose(_pool_by_sums(features, num_out), expected, atol=1e-12)
    assert torch.allclose(pool_average(features, num_out), expected, atol=1e-12)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("num_taps", [1, 5])
def test_a_sum_of_shifted_slices_is_a_depthwise_filter(num_frames, stride, num_taps):
    features, weight = torch.randn(2, num_frames, 3), torch.randn(3, num_taps)
    for bias in (None, torch.randn(3)):
        expected = depthwise_filter_reference(features, weight, bias, stride)
        assert torch.allclose(depthwise_filter_by_slices(features, weight, bias, stride), expected, atol=1e-5)
    half = depthwise_filter_by_slices(features.bfloat16(), weight, None, stride)
    assert half.dtype == torch.bfloat16


def test_devices_other_than_cpus_take_slices_and_have_pooling_of_sure_gradients():
    """Seen by the operators that run: the meta device stands in for a GPU."""
    features = torch.empty(2, 33, 3, device="meta")
    with torch.profiler.profile() as seen:
        depthwise_filter(features, torch.empty(3, 5, device="meta"), None, 1)
        pool_average(features, 4)
    names = {event.name for event in seen.events()}
    assert not any("conv" in name or "adaptive" in name for name in names), names
