"""Rotary position embedding: J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor


def rotate(features: Float[Tensor, "*axes frame dim"], base: float = 10_000.0) -> Float[Tensor, "*axes frame dim"]:
    """Turns each pair of neighbouring features (0 and 1, 2 and 3, ...) by frame x base^(-2 pair / dim).

    The product of two so turned vectors depends on the distance of their frames alone.
    """
    num_frames, dim = features.shape[-2:]
    frequencies = base ** (-torch.arange(0, dim, 2, device=features.device, dtype=torch.float32) / dim)
    angles = torch.arange(num_frames, device=features.device, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos().to(features.dtype), angles.sin().to(features.dtype)
    first, second = features[..., 0::2], features[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2)
