"""Permutation-invariant training: the loss under the best assignment of estimates to references.

M. Kolbaek et al., "Multitalker speech separation with utterance-level permutation invariant training", 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from unbraid.axes import Bool, Float, Int, Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def pairwise_distances(
    distance: Distance,
    estimate: Float[Tensor, "batch source channel sample"],
    reference: Float[Tensor, "batch source channel sample"],
) -> Float[Tensor, "batch source source"]:
    """Entry (i, j) is the distance between estimate i and reference j."""
    against = [reference[:, j, None].expand_as(estimate) for j in range(reference.shape[1])]
    return torch.stack([distance(estimate, one) for one in against], dim=-1)


def reorder(
    estimate: Float[Tensor, "batch source channel sample"], order: Int[Tensor, "batch source"]
) -> Float[Tensor, "batch source channel sample"]:
    """Puts the estimates into the order of the references, given for each reference its estimate."""
    return torch.gather(estimate, 1, order[:, :, None, None].expand_as(estimate))


def mean_above(
    losses: Float[Tensor, " batch"], floor_db: float | None, known: Bool[Tensor, " batch"] | None = None
) -> Float[Tensor, ""]:
    """Mean of the losses that are above `floor_db`, or of all when none is: what is already good no longer pulls.

    Only those count that are `known`, and 0 comes out where none is.
    """
    counted = torch.ones_like(losses, dtype=torch.bool) if known is None else known
    if floor_db is not None:
        unfinished = counted & (losses > floor_db)
        counted = torch.where(unfinished.any(), unfinished, counted)
    return mean_where(losses, counted)


def mean_where(values: Float[Tensor, " batch"], counted: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of the values that count, 0 where none does; without asking how many, for which a GPU would have to wait."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp(min=1)
