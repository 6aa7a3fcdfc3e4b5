"""The dual-path part of SepFormer: transformers within chunks of frames and across them.

A plane is (batch, row, frame, dim): every row is a sequence that a transformer reads. Within chunks the rows are the
chunks; across chunks the plane is turned, and each row holds the frames of one place in all chunks.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.linear import Linear
from unbraid.layers.memory import Checkpointed
from unbraid.layers.sequence import SequenceConfig, build_sequence_layer
from unbraid.models.dprnn.chunks import Norm, build_norm

FeedForward = Literal["linear", "plane"]

_EPS = 1e-6


class DualPathBlock(nn.Module):
    """One SepFormer block: the stack within chunks, then the stack across chunks."""

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int,
        sequence: SequenceConfig,
        feedforward: FeedForward,
        feedforward_dim: int,
        norm: Norm,
        final_norms: bool,
        linear_after: bool,
    ) -> None:
        super().__init__()

        def stack() -> Stack:
            layers = [TransformerLayer(dim, sequence, feedforward, feedforward_dim) for _ in range(num_layers)]
            return Stack(dim, layers, norm if final_norms else None, linear_after)

        self.within, self.across = stack(), stack()

    def forward(self, chunks: Float[Tensor, "batch chunk frame dim"]) -> Float[Tensor, "batch chunk frame dim"]:
        chunks = self.within(chunks)
        # One copy here, so that no layer of the stack has to gather its sequences from all over memory.
        return self.across(chunks.transpose(1, 2).contiguous()).transpose(1, 2).contiguous()


class Stack(Checkpointed):
    """Transformer layers over the rows of a plane, with positions before, norms after, and around it all a skip."""

    def __init__(self, dim: int, layers: list[TransformerLayer], norm: Norm | None, linear_after: bool) -> None:
        """`norm` None leaves the output as it is, which the skip then doubles in every stack."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim, eps=_EPS) if norm else nn.Identity()
        self.linear = Linear(dim, dim) if linear_after else nn.Identity()
        self.plane_norm = build_norm(dim, norm) if norm else nn.Identity()

    def forward(self, plane: Float[Tensor, "batch row frame dim"]) -> Float[Tensor, "batch row frame dim"]:
        return plane + self.recomputed(self.transform, plane)

    def transform(self, plane: Float[Tensor, "batch row frame dim"]) -> Float[Tensor, "batch row frame dim"]:
        out = plane + sinusoids(plane.shape[2], plane.shape[3], plane)
        for layer in self.layers:
            out = layer(out)
        out = self.linear(self.norm(out))
        return self.plane_norm(out.flatten(1, 2)).view(plane.shape)


class TransformerLayer(nn.Module):
    """x + Attention(LayerNorm(x)), then x + FeedForward(LayerNorm(x))."""

    def __init__(self, dim: int, sequence: SequenceConfig, feedforward: FeedForward, feedforward_dim: int) -> None:
        """`feedforward` "plane": the second linear map becomes a 3x3 convolution over the plane of all chunks."""
        super().__init__()
        self.norm_sequence = nn.LayerNorm(dim, eps=_EPS)
        self.sequence = build_sequence_layer(dim, sequence)
        self.norm_feedforward = nn.LayerNorm(dim, eps=_EPS)
        self.widen = Linear(dim, feedforward_dim)
        self.narrow = Linear(feedforward_dim, dim) if feedforward == "linear" else PlaneConv(feedforward_dim, dim)

    def forward(self, plane: Float[Tensor, "batch row frame dim"]) -> Float[Tensor, "batch row frame dim"]:
        plane = plane + self.sequence(self.norm_sequence(plane).flatten(0, 1)).view(plane.shape)
        return plane + self.narrow(F.relu(self.widen(self.norm_feedforward(plane))))


def sinusoids(num_frames: int, dim: int, like: Tensor) -> Float[Tensor, "frame dim"]:
    """Positions as sines (even features) and cosines (odd ones) of wavelengths from 2 pi to 20,000 pi frames."""
    rates = torch.exp(torch.arange(0, dim, 2, device=like.device) * (-math.log(10_000) / dim))
    angles = torch.arange(num_frames, device=like.device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim].to(like.dtype)
