"""Networks that take pieces of one length, made to take any length.

A shorter input is put in the middle of zeros; a longer one is cut into pieces that overlap by a quarter and are
averaged with triangular weights, as demucs does it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.onednn import half_precision_where_it_runs

_OVERLAP = 0.25

Network = Callable[[Tensor], Tensor]
"""(batch, channel, sample) -> (batch, source, channel, sample)"""


def in_pieces(
    network: Network, mixture: Float[Tensor, "batch channel sample"], piece_samples: int
) -> Float[Tensor, "batch source channel sample"]:
    """The network on a mixture of any length."""
    length = mixture.shape[-1]
    if length <= piece_samples:
        return _centred(network, mixture, 0, length, piece_samples)
    rise = torch.arange(1, piece_samples + 1, device=mixture.device, dtype=mixture.dtype)
    weights = torch.minimum(rise, rise.flip(0))
    weights = weights / weights.max()
    total: Tensor | None = None
    norm = mixture.new_zeros(length)
    for start in range(0, length, int((1 - _OVERLAP) * piece_samples)):
        stop = min(start + piece_samples, length)
        piece = _centred(network, mixture, start, stop, piece_samples) * weights[: stop - start]
        padded = F.pad(piece, (start, length - stop))
        total = padded if total is None else total + padded
        norm[start:stop] += weights[: stop - start]
    assert total is not None
    return total / norm


def _centred(network: Network, mixture: Tensor, start: int, stop: int, piece_samples: int) -> Tensor:
    """Estimates of mixture[start:stop], seen in the middle of a full piece of whatever surrounds it, or else zeros."""
    left = start - (piece_samples - (stop - start)) // 2
    right, length = left + piece_samples, mixture.shape[-1]
    seen = F.pad(mixture[..., max(left, 0) : min(right, length)], (max(-left, 0), max(right - length, 0)))
    with half_precision_where_it_runs(mixture.device):  # many of these networks have LSTMs
        return network(seen)[..., start - left : stop - left]
