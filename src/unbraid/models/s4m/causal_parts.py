"""What causal S4M's block is made of, and what is carried from one group of frames to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import DepthwiseConv, multiply_add_resized
from unbraid.layers.state_space import DiscreteSystem
from unbraid.models.s4m.parts import StateSpaceResidual

_FEW_FRAMES = 32
"""Up to so many, a product and a sum take 15 us where starting a convolution takes 80."""


class Past(ABC):
    """What came before the frames at hand."""

    @abstractmethod
    def join(self, features: Float[Tensor, "batch frame dim"], context: int) -> Tensor:
        """The features with so many frames of their past in front of them."""

    @abstractmethod
    def read(self, layer: StateSpaceResidual, features: Float[Tensor, "batch frame dim"]) -> Tensor:
        """What the state-space layer makes of the features, from the state that their past left."""


class Rest(Past):
    """Silence: the frames at hand are the first ones. Keeps nothing, so that one serves everybody."""

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel

    def join(self, features: Float[Tensor, "batch frame dim"], context: int) -> Tensor:
        return F.pad(features, (0, 0, context, 0))

    def read(self, layer: StateSpaceResidual, features: Float[Tensor, "batch frame dim"]) -> Tensor:
        return layer(features, self.kernel)


class Carried(Past):
    """What the frames before left behind, in the order in which the layers ask for it, which is always the same."""

    def __init__(self, system: DiscreteSystem) -> None:
        self._system = system
        self._kept: list[Tensor] = []
        self._place = 0

    def begin(self) -> None:
        """A new group of frames follows."""
        self._place = 0

    @property
    def num_values(self) -> int:
        """Numbers that are kept."""
        return sum(kept.numel() for kept in self._kept)

    def join(self, features: Float[Tensor, "batch frame dim"], context: int) -> Tensor:
        before = self._take(features.new_zeros(features.shape[0], context, features.shape[2]))
        joined = torch.cat([before, features], dim=1)
        # A copy: a view would keep all the frames.
        self._keep(joined[:, -context:].clone())
        return joined

    def read(self, layer: StateSpaceResidual, features: Float[Tensor, "batch frame dim"]) -> Tensor:
        state = self._take(layer.layer.initial_state(features.shape[0]))
        normed, outputs = layer.norm(features), []
        for frame in normed.unbind(1):
            output, state = layer.layer.step(frame, state, self._system)
            outputs.append(output)
        self._keep(state)
        return features + torch.stack(outputs, dim=1)

    def _take(self, at_rest: Tensor) -> Tensor:
        return self._kept[self._place] if self._place < len(self._kept) else at_rest

    def _keep(self, tensor: Tensor) -> None:
        self._kept[self._place : self._place + 1] = [tensor]
        self._place += 1


class CausalConvNorm(nn.Module):
    """Depthwise convolution over a frame and those before it, then layer norm of each frame.

    With a stride of two, a coarse frame sees the two frames that it stands for and three before them.
    """

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, *, bias: bool) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, stride, bias)
        self.norm = nn.LayerNorm(dim)
        self.context = kernel_size - stride

    def forward(self, features: Float[Tensor, "batch frame dim"], past: Past) -> Tensor:
        if self.conv.kernel_size == 1:
            return self.norm(self.conv(features))
        stride, weight = self.conv.stride, self.conv.weight
        if features.shape[1] <= _FEW_FRAMES and not torch.is_grad_enabled():
            windows = past.join(features, self.context).unfold(1, weight.shape[1], stride)
            filtered = (windows * weight).sum(-1)
            return self.norm(filtered if self.conv.bias is None else filtered + self.conv.bias)
        # The filter is centred: what it finds so many frames later is what belongs to a frame and its past.
        first = self.conv.kernel_size // 2 // stride
        filtered = self.conv(past.join(features, self.context))
        return self.norm(filtered[:, first : first + features.shape[1] // stride])


class CausalFusion(nn.Module):
    """`Fusion` with causal filters: a local sequence gated and shifted by a coarser one."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.local = CausalConvNorm(dim, kernel_size, bias=False)
        self.gate = CausalConvNorm(dim, kernel_size, bias=False)
        self.shift = CausalConvNorm(dim, kernel_size, bias=False)

    def forward(
        self,
        local: Float[Tensor, "batch frame dim"],
        summary: Float[Tensor, "batch summary_frame dim"],
        past: Past,
    ) -> Float[Tensor, "batch frame dim"]:
        gate = torch.sigmoid(self.gate(summary, past))
        shift = self.shift(summary, past)
        return multiply_add_resized(self.local(local, past), gate, shift)
