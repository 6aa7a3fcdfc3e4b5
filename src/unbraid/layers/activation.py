"""Activations that learn."""

from __future__ import annotations

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.prelu import prelu


class PReLU(nn.PReLU):
    """max(x, 0) + slope min(x, 0) with one learnt slope, begun at 0.25; the parameters are those of `nn.PReLU`."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, features: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        return prelu(features, self.weight)
