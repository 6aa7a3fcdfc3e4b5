"""What causal S4M's block is made of, over all frames at once; `causal_live` computes the same group by group."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import DepthwiseConv, multiply_add_resized


class CausalConvNorm(nn.Module):
    """Depthwise convolution over a frame and those before it, then layer norm of each frame.

    With a stride of two, a coarse frame sees the two frames that it stands for and three before them.
    """

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, *, bias: bool) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, stride, bias)
        self.norm = nn.LayerNorm(dim)
        self.context = kernel_size - stride

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch out_frame dim"]:
        if self.conv.kernel_size == 1:
            return self.norm(self.conv(features))
        # The filter is centred: what it finds so many frames later is what belongs to a frame and its past.
        first = self.conv.kernel_size // 2 // self.conv.stride
        filtered = self.conv(F.pad(features, (0, 0, self.context, 0)))
        return self.norm(filtered[:, first : first + features.shape[1] // self.conv.stride])


class CausalFusion(nn.Module):
    """`Fusion` with causal filters: a local sequence gated and shifted by a coarser one."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.local = CausalConvNorm(dim, kernel_size, bias=False)
        self.gate = CausalConvNorm(dim, kernel_size, bias=False)
        self.shift = CausalConvNorm(dim, kernel_size, bias=False)

    def forward(
        self, local: Float[Tensor, "batch frame dim"], summary: Float[Tensor, "batch summary_frame dim"]
    ) -> Float[Tensor, "batch frame dim"]:
        return multiply_add_resized(self.local(local), torch.sigmoid(self.gate(summary)), self.shift(summary))
