"""Normalisations. Features lie last."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.kernels.moments import moments


class GlobalLayerNorm(nn.Module):
    """Normalises over frames and features together, then scales and shifts each feature (gLN of Conv-TasNet).

    The variance is the biased one and `eps` stands inside the root. Statistics are taken in float32 at least, also
    under autocast.
    """

    def __init__(self, dim: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        scale, shift = self.affine(features)
        return torch.addcmul(shift.to(features.dtype), features, scale.to(features.dtype))

    def affine(
        self, features: Float[Tensor, "batch frame dim"]
    ) -> tuple[Float[Tensor, "batch 1 dim"], Float[Tensor, "batch 1 dim"]]:
        """Scale and shift that the norm applies to these features, so that a caller may fold them into its own work."""
        return self.affine_from(*moments(at_least_float32(features), dim=(1, 2)))

    def affine_from(
        self, mean: Float[Tensor, "batch 1 1"], variance: Float[Tensor, "batch 1 1"]
    ) -> tuple[Float[Tensor, "batch 1 dim"], Float[Tensor, "batch 1 dim"]]:
        """As `affine`, from moments that are already known."""
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - mean * scale


def pooled_moments(mean: Tensor, variance: Tensor) -> tuple[Float[Tensor, "batch 1 1"], Float[Tensor, "batch 1 1"]]:
    """Mean and variance over frames and features together, from those over the frames of each feature."""
    overall = mean.mean(-1, keepdim=True)
    return overall, (variance + (mean - overall).square()).mean(-1, keepdim=True)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps), times one weight per feature; computed in float32 at least."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        exact = at_least_float32(features)
        power = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square() / features.shape[-1]
        return (exact * torch.rsqrt(power + self.eps) * self.weight).to(features.dtype)


class RMSGroupNorm(nn.Module):
    """Each of `num_groups` equal parts of the features divided by (its RMS + eps), times one weight per feature.

    The norm of TF-Locoformer (K. Saijo et al., IWAENC 2024); computed in float32 at least.
    """

    def __init__(self, dim: int, num_groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        if dim % num_groups:
            raise ConfigError(f"{dim} features cannot be split into {num_groups} groups: choose a divisor")
        self.num_groups, self.eps = num_groups, eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        grouped = at_least_float32(features).unflatten(-1, (self.num_groups, -1))
        rms = torch.linalg.vector_norm(grouped, dim=-1, keepdim=True) / math.sqrt(grouped.shape[-1])
        return ((grouped / (rms + self.eps)).flatten(-2) * self.weight).to(features.dtype)


class BatchNorm(nn.Module):
    """Normalises each feature over everything else; S. Ioffe, C. Szegedy, "Batch Normalization", 2015.

    In training by the mean and variance of the batch, which also move their running averages by `momentum`; in
    evaluation by the running averages, so that rows of a batch do not influence each other. A batch with one value per
    feature says nothing about a variance and is normalised by the running averages. Silence has a variance of zero,
    which `eps` bears. Each process of several keeps statistics of its own.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, momentum: float = 0.01, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        num_values = features.numel() // features.shape[-1]
        if not self.training or num_values == 1:
            scale, shift = self.affine()
            return torch.addcmul(shift.to(features.dtype), features, scale.to(features.dtype))
        # As an image one bin wide, features that lie last are channels-last, the form that is fast on a CPU.
        image = features.reshape(1, num_values, 1, -1).permute(0, 3, 1, 2)
        out = F.batch_norm(
            image, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )
        return out.permute(0, 2, 3, 1).reshape(features.shape)

    def affine(self) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
        """Scale and shift that the norm amounts to in evaluation, so that a convolution before it may take them in."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


def at_least_float32(features: Tensor) -> Tensor:
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
