"""Mean and variance, with a gradient of one pass."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor


def moments(features: Float[Tensor, "batch frame dim"], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance over `dim`, kept as axes of size one.

    The variance is that of the differences from the mean: as E[x^2] - E[x]^2 it would be noise in float32 wherever the
    mean is a thousand times the deviation.
    """
    if torch.compiler.is_exporting():
        return moments_by_steps(features, dim)
    return Moments.apply(features, dim)  # type: ignore[return-value]


def moments_reference(features: Float[Tensor, "batch frame dim"], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """As `moments`, with PyTorch's own gradients: its slow twin."""
    mean = features.mean(dim=dim, keepdim=True)
    return mean, (features - mean).square().mean(dim=dim, keepdim=True)


def moments_by_steps(features: Float[Tensor, "batch frame dim"], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """As `moments`, one axis after the other, for what is exported.

    onnxruntime adds up millions of numbers one by one in float32, which leaves three digits of their mean; frames,
    which may be any number, are added up in float64.
    """
    mean = _mean_by_steps(features, dim)
    return mean, _mean_by_steps((features - mean).square(), dim)


def _mean_by_steps(features: Tensor, dim: tuple[int, ...]) -> Tensor:
    narrow = features.mean(dim=2, keepdim=True) if 2 in dim else features
    return narrow.double().mean(dim=1, keepdim=True).to(features.dtype) if 1 in dim else narrow


class Moments(torch.autograd.Function):
    """`moments_reference` whose backward is one pass: autograd's own, through the norm, takes six."""

    @staticmethod
    def forward(ctx, features: Tensor, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        mean = features.mean(dim=dim, keepdim=True)
        ctx.save_for_backward(features, mean)
        ctx.share = mean.numel() / max(features.numel(), 1)
        centred = features - mean
        if len(dim) == 1:
            # Over frames alone the norm is not vectorised on CPUs and ten times slower than this.
            return mean, centred.square_().mean(dim=dim, keepdim=True)
        # Over features alone: a norm adds up one by one in float32, and of a million numbers keeps four digits.
        power = torch.linalg.vector_norm(centred, dim=2, keepdim=True).square() / centred.shape[2]
        return mean, power.mean(dim=1, keepdim=True)

    @staticmethod
    def backward(ctx, grad_mean: Tensor, grad_variance: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        features, mean = ctx.saved_tensors
        slope = grad_variance * (2 * ctx.share)
        return torch.addcmul(grad_mean * ctx.share - slope * mean, features, slope), None
