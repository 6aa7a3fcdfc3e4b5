"""Permutation-invariant training: the loss under the best assignment of estimates to references.

M. Kolbaek et al., "Multitalker speech separation with utterance-level permutation invariant training", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch

from unbraid.axes import Float, Int, Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def best_permutation(
    distance: Distance,
    estimate: Float[Tensor, "batch source channel sample"],
    reference: Float[Tensor, "batch source channel sample"],
) -> tuple[Float[Tensor, " batch"], Int[Tensor, "batch source"]]:
    """The mean distance over sources under the best assignment, and for each reference the estimate assigned to it.

    Every assignment is tried, which is meant for up to five sources.
    """
    num_sources = reference.shape[1]
    pairwise = torch.stack(
        [
            torch.stack([distance(estimate[:, i], reference[:, j]) for j in range(num_sources)], dim=-1)
            for i in range(num_sources)
        ],
        dim=-2,
    )
    orders = torch.tensor(list(permutations(range(num_sources))), device=reference.device)
    slots = torch.arange(num_sources, device=reference.device)
    # (batch, order): entry (o, j) takes the estimate o[j] for the reference j.
    totals = pairwise[:, orders, slots].mean(dim=-1)
    best = totals.argmin(dim=-1)
    return totals.gather(1, best[:, None]).squeeze(1), orders[best]


def reorder(
    estimate: Float[Tensor, "batch source channel sample"], order: Int[Tensor, "batch source"]
) -> Float[Tensor, "batch source channel sample"]:
    """Puts the estimates into the order of the references, as `best_permutation` found it."""
    return torch.gather(estimate, 1, order[:, :, None, None].expand_as(estimate))


def mean_above(losses: Float[Tensor, " batch"], floor_db: float | None) -> Float[Tensor, ""]:
    """Mean of the losses that are above `floor_db`, or of all when none is: what is already good no longer pulls."""
    if floor_db is not None and (unfinished := losses > floor_db).any():
        losses = losses[unfinished]
    return losses.mean()
