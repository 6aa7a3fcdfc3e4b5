"""What S4M's block is made of: fusions of two time scales, and residual layers at one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.attention import SelfAttention, SelfAttentionConfig
from unbraid.layers.convolution import DepthwiseConv, multiply_add_resized
from unbraid.layers.kernels.moments import moments
from unbraid.layers.linear import Linear
from unbraid.layers.mamba import Mamba, MambaConfig
from unbraid.layers.norms import GlobalLayerNorm, at_least_float32, pooled_moments
from unbraid.layers.sequence import BothWays
from unbraid.layers.state_space import StateSpaceConfig, StateSpaceLayer
from unbraid.models.s4m.config import S4MConfig

_HEAD_DIM = 64
"""Features of a head, where attention reads the coarsest level."""


class Fusion(nn.Module):
    """A local sequence gated and shifted by a global one that is resized to it:  local * sigmoid(gate) + shift.

    The norm of the local part is an affine map of each feature, so it is merged with gate and shift while these are
    still at the global sequence's coarser resolution; the long sequence is then touched once.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.local = ConvNorm(dim, kernel_size, bias=False)
        self.gate = ConvNorm(dim, kernel_size, bias=False)
        self.shift = ConvNorm(dim, kernel_size, bias=False)

    def forward(
        self,
        local: Float[Tensor, "batch frame dim"],
        summary: Float[Tensor, "batch summary_frame dim"],
        local_moments: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "batch frame dim"]:
        """`local_moments` are each feature's mean and variance, where the caller knows them."""
        convolved, scale, offset = self.local.unfused(local, local_moments)
        gate = torch.sigmoid(self.gate(summary))
        shift = torch.addcmul(self.shift(summary), gate, offset)
        return multiply_add_resized(convolved, gate * scale, shift)


class ConvNorm(nn.Module):
    """Depthwise convolution, then global layer norm."""

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, *, bias: bool) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, stride, bias)
        self.norm = GlobalLayerNorm(dim)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch out_frame dim"]:
        convolved, scale, offset = self.unfused(features)
        return torch.addcmul(offset, convolved, scale)

    def with_moments(
        self, features: Float[Tensor, "batch frame dim"]
    ) -> tuple[Float[Tensor, "batch out_frame dim"], tuple[Tensor, Tensor]]:
        """The output, and each of its features' mean and variance, which cost next to nothing here."""
        convolved = self.conv(features)
        mean, variance = moments(at_least_float32(convolved), dim=(1,))
        scale, offset = self.norm.affine_from(*pooled_moments(mean, variance))
        after = scale * mean + offset, scale.square() * variance
        return torch.addcmul(offset.to(convolved.dtype), convolved, scale.to(convolved.dtype)), after

    def unfused(
        self, features: Float[Tensor, "batch frame dim"], known: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch out_frame dim"], Float[Tensor, "batch 1 dim"], Float[Tensor, "batch 1 dim"]]:
        """A sequence, and the scale and offset that turn it into this module's output."""
        if self.conv.kernel_size == 1 and self.conv.bias is None and self.conv.stride == 1:
            # The filter is one weight w per feature: the moments of w x follow from those of x without forming it.
            weight = self.conv.weight[:, 0]
            mean, variance = known or moments(at_least_float32(features), dim=(1,))
            scale, offset = self.norm.affine_from(*pooled_moments(mean * weight, variance * weight.square()))
            convolved, scale = features, scale * weight
        else:
            convolved = self.conv(features)
            scale, offset = self.norm.affine(convolved)
        return convolved, scale.to(convolved.dtype), offset.to(convolved.dtype)


class StateSpaceResidual(nn.Module):
    """x + S4(LayerNorm(x))."""

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layer = StateSpaceLayer(dim, config)
        self.dropout = nn.Dropout(config.dropout)

    def kernel(self, num_frames: int) -> Tensor:
        """What `forward` wants for so many frames; one serves every round."""
        return self.layer.kernel(num_frames)

    def forward(self, features: Float[Tensor, "batch frame dim"], kernel: Tensor) -> Float[Tensor, "batch frame dim"]:
        return features + self.dropout(self.layer(self.norm(features), kernel))


class SequenceResidual(nn.Module):
    """x + layer(LayerNorm(x)), in the place of a state-space layer."""

    def __init__(self, dim: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layer = layer

    def kernel(self, num_frames: int) -> Tensor:
        """Nothing is computed ahead."""
        return self.norm.weight.new_zeros(0)

    def forward(self, features: Float[Tensor, "batch frame dim"], kernel: Tensor) -> Float[Tensor, "batch frame dim"]:
        return features + self.layer(self.norm(features))


def build_coarsest(config: S4MConfig) -> StateSpaceResidual | SequenceResidual:
    """The layer that reads the coarsest level."""
    dim, states = config.hidden_dim, config.state_space
    match config.coarsest:
        case "s4":
            return StateSpaceResidual(dim, states)
        case "mamba":
            one_way = MambaConfig(state_size=states.state_dim)
            return SequenceResidual(dim, BothWays(dim, one_way) if states.bidirectional else Mamba(dim, one_way))
        case "attention":
            heads = max(1, dim // _HEAD_DIM)
            wide = SelfAttentionConfig(num_heads=heads, inner_dim=dim, positions="rotary", dropout=states.dropout)
            return SequenceResidual(dim, SelfAttention(dim, wide))


class FeedForwardResidual(nn.Module):
    """x + W2 gelu(W1 LayerNorm(x))."""

    def __init__(self, dim: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = Linear(dim, factor * dim)
        self.narrow = Linear(factor * dim, dim)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        return features + self.narrow(F.gelu(self.widen(self.norm(features))))
