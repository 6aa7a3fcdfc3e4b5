"""Gradient checkpointing: activations are computed twice instead of kept, less memory for more time."""

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
