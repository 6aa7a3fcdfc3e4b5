"""Convolutions along frames and over the plane of frames and bins, and resizing. Features lie last."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Int, Tensor
from unbraid.layers.kernels.depthwise import depthwise_filter


class DepthwiseConv(nn.Module):
    """One short filter per feature along frames, "same" padding: `ceil(frame / stride)` frames come out."""

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd so that frames keep their place, not {kernel_size}")
        self.kernel_size, self.stride = kernel_size, stride
        self.weight = nn.Parameter(torch.empty(dim, kernel_size))
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None
        bound = 1 / math.sqrt(kernel_size)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch out_frame dim"]:
        if self.kernel_size == 1 and self.stride == 1:
            scaled = features * self.weight[:, 0]
            return scaled if self.bias is None else scaled + self.bias
        return depthwise_filter(features, self.weight, self.bias, self.stride)


class CausalDepthwiseConv(nn.Module):
    """One short filter per feature over a frame and those before it; as many frames come out as go in."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(kernel_size)
        self.weight = nn.Parameter(torch.empty(dim, kernel_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        num_frames, dim = features.shape[1:]
        # As in DepthwiseConv; what the padding on the right adds at the end is cut off.
        image, kernel = features.transpose(1, 2).unsqueeze(2), self.weight[:, None, None, :]
        out = F.conv2d(image, kernel, self.bias, padding=(0, self.weight.shape[1] - 1), groups=dim)
        return out.squeeze(2).transpose(1, 2)[:, :num_frames]


class FrameConv(nn.Module):
    """Convolution along frames over all features; `padding` frames of zeros at both ends."""

    def __init__(self, dim_in: int, dim_out: int, kernel_size: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.weight = nn.Parameter(torch.empty(dim_out, dim_in, kernel_size))
        self.bias = nn.Parameter(torch.empty(dim_out))
        bound = 1 / math.sqrt(dim_in * kernel_size)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Float[Tensor, "batch frame dim_in"]) -> Float[Tensor, "batch out_frame dim_out"]:
        # As an image one bin high, the features are channels-last, and nothing is moved in memory.
        image = features.transpose(1, 2).unsqueeze(2)
        out = F.conv2d(image, self.weight.unsqueeze(2), self.bias, padding=(0, self.padding))
        return out.squeeze(2).transpose(1, 2)


class PlaneConv(nn.Module):
    """3 x 3 convolution over frames and bins, "same" padding with zeros."""

    def __init__(self, dim_in: int, dim_out: int, transposed: bool = False, bias: bool = True) -> None:
        """`transposed` only changes the initial draw: with stride 1 a transposed convolution is a convolution."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim_out, dim_in, 3, 3))
        self.bias = nn.Parameter(torch.empty(dim_out)) if bias else None
        bound = 1 / math.sqrt(9 * (dim_out if transposed else dim_in))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Float[Tensor, "batch frame freq dim_in"]) -> Float[Tensor, "batch frame freq dim_out"]:
        out = F.conv2d(features.permute(0, 3, 1, 2), self.weight, self.bias, padding=1)
        return out.permute(0, 2, 3, 1)


def nearest_frames(num_in: int, num_out: int, device: torch.device | None = None) -> Int[Tensor, " out_frame"]:
    """For each of `num_out` frames, the input frame that nearest-neighbour resizing takes."""
    return torch.arange(num_out, device=device) * num_in // num_out


def resize_nearest(features: Float[Tensor, "batch frame dim"], num_frames: int) -> Float[Tensor, "batch out_frame dim"]:
    """Stretches or thins features to `num_frames` by repeating or dropping frames."""
    if features.shape[1] == num_frames:
        return features
    return features.index_select(1, nearest_frames(features.shape[1], num_frames, features.device))


def multiply_add_resized(
    features: Float[Tensor, "batch frame dim"],
    factor: Float[Tensor, "batch coarse_frame dim"],
    summand: Float[Tensor, "batch coarse_frame dim"],
) -> Float[Tensor, "batch frame dim"]:
    """features * factor + summand, the latter two resized to the features as `resize_nearest` does it."""
    num_frames, coarse = features.shape[1], factor.shape[1]
    # What is exported serves every number of frames, and so may not ask which of the two ways is right for this one.
    if torch.compiler.is_exporting() or num_frames % coarse:
        return torch.addcmul(resize_nearest(summand, num_frames), features, resize_nearest(factor, num_frames))
    # With a whole number of frames to each coarse one, nothing needs to be copied.
    grouped = features.unflatten(1, (coarse, num_frames // coarse))
    return torch.addcmul(summand.unsqueeze(2), grouped, factor.unsqueeze(2)).flatten(1, 2)


def pool_average(features: Float[Tensor, "batch frame dim"], num_frames: int) -> Float[Tensor, "batch out_frame dim"]:
    """Averages features over `num_frames` spans that cover all frames (adaptive average pooling)."""
    available = features.shape[1]
    if torch.compiler.is_exporting():
        return _pool_by_running_sum(features, num_frames)
    if available == num_frames:
        return features
    if available % num_frames == 0:
        return features.unflatten(1, (num_frames, -1)).mean(2)
    if features.device.type == "cpu":
        return F.adaptive_avg_pool1d(features.transpose(1, 2), num_frames).transpose(1, 2)
    # PyTorch's own pooling has no gradient on a GPU that is the same every time, and refuses `deterministic`.
    return _pool_by_sums(features, num_frames)


def _pool_by_sums(features: Float[Tensor, "batch frame dim"], num_frames: int) -> Float[Tensor, "batch out_frame dim"]:
    """Span i of n over L frames begins at i L / n, rounded down, and ends at (i + 1) L / n, rounded up.

    No span has more than L / n + 2 frames, and the sums run over the first frame of all spans, the second, and so on.
    """
    available, device = features.shape[1], features.device
    span = torch.arange(num_frames, device=device)
    begin, end = span * available // num_frames, -(-(span + 1) * available // num_frames)
    total = torch.zeros((), device=device)
    for place in range(available // num_frames + 2):
        inside = (begin + place < end)[:, None]
        total = total + torch.where(inside, features.index_select(1, (begin + place).clamp(max=available - 1)), 0)
    return (total / (end - begin)[:, None]).to(features.dtype)


def _pool_by_running_sum(
    features: Float[Tensor, "batch frame dim"], num_frames: int
) -> Float[Tensor, "batch out_frame dim"]:
    """As `_pool_by_sums`, without a loop whose length depends on the number of frames; for what is exported.

    In float64: two large sums that are nearly the same leave few digits of float32 to their difference.
    """
    available, device = features.shape[1], features.device
    span = torch.arange(num_frames, device=device)
    begin, end = span * available // num_frames, ((span + 1) * available + num_frames - 1) // num_frames
    running = F.pad(features.double().cumsum(1), (0, 0, 1, 0))
    total = running.index_select(1, end) - running.index_select(1, begin)
    return (total / (end - begin)[:, None]).to(features.dtype)
