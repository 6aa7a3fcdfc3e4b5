"""Frames cut into chunks that overlap, and joined again; and the norms of what reads them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.norms import GlobalLayerNorm

Norm = Literal["global", "frame"]


def build_norm(dim: int, norm: Norm) -> nn.Module:
    """Over all frames and features of an example ("global"), or over the features of each frame."""
    return GlobalLayerNorm(dim) if norm == "global" else nn.LayerNorm(dim)


def cut_chunks(
    frames: Float[Tensor, "batch frame dim"], chunk_frames: int
) -> Float[Tensor, "batch chunk chunk_frame dim"]:
    """Chunks that overlap by half, so many that each frame lies in two of them; zeros fill up both ends."""
    half, num_frames = chunk_frames // 2, frames.shape[1]
    # The published rule: a whole chunk of zeros is added where the frames would fit without.
    gap = chunk_frames - (half + num_frames % chunk_frames) % chunk_frames
    halves = F.pad(frames, (0, 0, half, half + gap)).unflatten(1, (-1, half))
    return torch.cat([halves[:, :-1], halves[:, 1:]], dim=2)


def join_chunks(
    chunks: Float[Tensor, "batch chunk chunk_frame dim"], num_frames: int
) -> Float[Tensor, "batch frame dim"]:
    """The sum of what the two chunks of each frame say; undoes `cut_chunks` up to a factor of two."""
    halves = chunks.unflatten(2, (2, -1))
    return (halves[:, 1:, 0] + halves[:, :-1, 1]).flatten(1, 2)[:, :num_frames]
