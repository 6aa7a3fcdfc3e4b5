"""Mean and mean square, with a gradient of one pass."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor


def moments(features: Float[Tensor, "batch frame dim"], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and mean square over `dim`, kept as axes of size one."""
    return Moments.apply(features, dim)  # type: ignore[return-value]


def moments_reference(features: Float[Tensor, "batch frame dim"], dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """As `moments`, with PyTorch's own gradients: its slow twin."""
    return features.mean(dim=dim, keepdim=True), features.square().mean(dim=dim, keepdim=True)


class Moments(torch.autograd.Function):
    """`moments_reference` whose backward is one pass: autograd's own, through the norm, takes six."""

    @staticmethod
    def forward(ctx, features: Tensor, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        mean = features.mean(dim=dim, keepdim=True)
        ctx.save_for_backward(features)
        ctx.share = mean.numel() / max(features.numel(), 1)
        if len(dim) == 1:
            # Over frames alone the norm is not vectorised on CPUs and ten times slower than this.
            return mean, features.square().mean(dim=dim, keepdim=True)
        norm = torch.linalg.vector_norm(features, dim=dim, keepdim=True)
        return mean, norm.square() * ctx.share

    @staticmethod
    def backward(ctx, grad_mean: Tensor, grad_mean_square: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (features,) = ctx.saved_tensors
        return torch.addcmul(grad_mean * ctx.share, features, grad_mean_square * (2 * ctx.share)), None
