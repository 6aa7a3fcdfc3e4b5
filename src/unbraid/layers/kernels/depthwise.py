"""A short filter per feature along frames, with a gradient for its taps that is fast on CPUs."""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.onednn import gradients_are_ours


def depthwise_filter(
    features: Float[Tensor, "batch frame dim"],
    weight: Float[Tensor, "dim tap"],
    bias: Float[Tensor, " dim"] | None,
    stride: int,
) -> Float[Tensor, "batch out_frame dim"]:
    """Each feature filtered by its own odd number of taps, centred."""
    if features.device.type != "cpu":
        return depthwise_filter_by_slices(features, weight, bias, stride)
    if gradients_are_ours(features):
        return DepthwiseFilter.apply(features, weight, bias, stride)  # type: ignore[return-value]
    return depthwise_filter_reference(features, weight, bias, stride)


def depthwise_filter_reference(
    features: Float[Tensor, "batch frame dim"],
    weight: Float[Tensor, "dim tap"],
    bias: Float[Tensor, " dim"] | None,
    stride: int,
) -> Float[Tensor, "batch out_frame dim"]:
    """As `depthwise_filter`, with PyTorch's own gradients: its slow twin."""
    # A 2-D convolution one bin wide reads this memory as channels-last, which is the only depthwise form that is fast
    # on a CPU: conv1d needs ten times as long.
    image, kernel, padding = features.transpose(1, 2).unsqueeze(2), weight[:, None, None, :], weight.shape[1] // 2
    out = F.conv2d(image, kernel, bias, (1, stride), (0, padding), groups=features.shape[-1])
    return out.squeeze(2).transpose(1, 2)


def depthwise_filter_by_slices(
    features: Float[Tensor, "batch frame dim"],
    weight: Float[Tensor, "dim tap"],
    bias: Float[Tensor, " dim"] | None,
    stride: int,
) -> Float[Tensor, "batch out_frame dim"]:
    """As `depthwise_filter_reference`, as a sum of shifted slices, one a tap.

    For GPUs: cuDNN has no quick depthwise convolution of channels-last features, and a compiler makes one pass of this.
    """
    num_taps, num_out = weight.shape[1], -(-features.shape[1] // stride)
    padded = F.pad(features, (0, 0, num_taps // 2, num_taps // 2 + stride - 1))
    total = None
    for tap in range(num_taps):
        under = padded[:, tap : tap + stride * num_out : stride][:, :num_out]
        scaled = under * weight[:, tap]
        total = scaled if total is None else total + scaled
    assert total is not None
    # Under autocast the sum is in float32, as the weights are.
    return (total if bias is None else total + bias).to(features.dtype)


class DepthwiseFilter(torch.autograd.Function):
    """The slow twin with a gradient for the taps that is one product and sum a tap: oneDNN's own takes three times as
    long on a CPU, more than all else in a step of S4M."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(features, weight)
        ctx.stride = stride
        return depthwise_filter_reference(features, weight, bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # type: ignore[override]
        features, weight = ctx.saved_tensors
        (dim, num_taps), stride, num_frames = weight.shape, ctx.stride, grad.shape[1]
        for_features, for_weight, for_bias = None, None, None
        if ctx.needs_input_grad[0]:
            image, image_grad = features.transpose(1, 2).unsqueeze(2), grad.transpose(1, 2).unsqueeze(2)
            kernel, padding, wanted = weight[:, None, None, :], [0, num_taps // 2], [True, False, False]
            for_features = torch.ops.aten.convolution_backward(
                image_grad, image, kernel, None, [1, stride], padding, [1, 1], False, [0, 0], dim, wanted
            )[0]
            for_features = for_features.squeeze(2).transpose(1, 2)
        if ctx.needs_input_grad[1]:
            padded = F.pad(features, (0, 0, num_taps // 2, num_taps // 2))
            taps = (padded[:, tap : tap + stride * num_frames : stride][:, :num_frames] for tap in range(num_taps))
            for_weight = torch.stack([(grad * under).sum((0, 1)) for under in taps], dim=-1)
        if ctx.needs_input_grad[2]:
            for_bias = grad.sum((0, 1))
        return for_features, for_weight, for_bias, None
