"""Less memory: activations that are computed twice instead of kept, and rows that are taken a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from unbraid.axes import Tensor


class Checkpointed(nn.Module):
    """A part of a model that can forget its insides in training; `SeparationModel` switches all its parts at once."""

    checkpointing: bool = False

    def recomputed(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """function(*inputs); with checkpointing only the inputs are kept, the rest is computed again for gradients."""
        if not self.checkpointing or not torch.is_grad_enabled():
            return function(*inputs)
        result = checkpoint(function, *inputs, use_reentrant=False)
        assert isinstance(result, Tensor)
        return result


def in_pieces(function: Callable[..., Tensor], *inputs: Tensor, size: int, dim: int = 0) -> Tensor:
    """function(*inputs) where it treats what lies along `dim` one by one, for so many of them at a time.

    Each piece is written to its place and forgotten before the next is made, so that nothing lies there twice. Not for
    training, where every piece would be kept, nor for export, which unrolls the loop.
    """
    result, start = None, 0
    for pieces in zip(*(tensor.split(size, dim) for tensor in inputs), strict=True):
        made = function(*pieces)
        if result is None:
            shape = list(made.shape)
            shape[dim] = inputs[0].shape[dim]
            result = made.new_empty(shape)
        result.narrow(dim, start, made.shape[dim]).copy_(made)
        start += made.shape[dim]
    assert result is not None
    return result
