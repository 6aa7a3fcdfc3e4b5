"""3 x 3 convolutions that take what follows them along, by oneDNN; only in inference, and each with its slow twin."""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.onednn import onednn_takes


def can_fuse(features: Tensor) -> bool:
    """Whether `conv_then_leaky` and `conv_plus` may run on this: inference in float32 on a CPU."""
    return _has_fused_convolution() and onednn_takes(features)


@cache
def _has_fused_convolution() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def conv_then_leaky(
    features: Float[Tensor, "batch frame freq dim_in"], weight: Tensor, bias: Tensor, slope: float
) -> Float[Tensor, "batch frame freq dim_out"]:
    """A 3 x 3 convolution and a leaky ReLU in one pass over memory, where `can_fuse` says so."""
    image = features.permute(0, 3, 1, 2)
    out = torch.ops.mkldnn._convolution_pointwise(
        image, weight, bias, [1, 1], [1, 1], [1, 1], 1, "leaky_relu", [slope], ""
    )
    return out.permute(0, 2, 3, 1)


def conv_then_leaky_reference(
    features: Float[Tensor, "batch frame freq dim_in"], weight: Tensor, bias: Tensor, slope: float
) -> Float[Tensor, "batch frame freq dim_out"]:
    """As `conv_then_leaky`, in two passes: its slow twin."""
    return F.leaky_relu(_conv(features, weight, bias), slope)


def conv_plus(
    features: Float[Tensor, "batch frame freq dim_in"], weight: Tensor, plus: Float[Tensor, "batch frame freq dim_out"]
) -> Float[Tensor, "batch frame freq dim_out"]:
    """A 3 x 3 convolution without bias, added to `plus` in the same pass, where `can_fuse` says so."""
    image, other = features.permute(0, 3, 1, 2), plus.permute(0, 3, 1, 2)
    out = torch.ops.mkldnn._convolution_pointwise.binary(
        image, other, weight, None, [1, 1], [1, 1], [1, 1], 1, "add", None, None, [], None
    )
    return out.permute(0, 2, 3, 1)


def conv_plus_reference(
    features: Float[Tensor, "batch frame freq dim_in"], weight: Tensor, plus: Float[Tensor, "batch frame freq dim_out"]
) -> Float[Tensor, "batch frame freq dim_out"]:
    """As `conv_plus`, in two passes: its slow twin."""
    return _conv(features, weight, None) + plus


def _conv(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(features.permute(0, 3, 1, 2), weight, bias, padding=1).permute(0, 2, 3, 1)
