"""Which estimate belongs to which reference, where the order of the estimates means nothing."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Int, Tensor
from unbraid.errors import SignalError
from unbraid.metrics.ratios import Metric
from unbraid.signal.assignment import cheapest_assignment


def pairwise(
    metric: Metric, estimate: Float[Tensor, "estimate ..."], reference: Float[Tensor, "reference ..."]
) -> Float[Tensor, "estimate reference"]:
    """The metric of every estimate against every reference."""
    rows = [metric(one.expand_as(reference), reference) for one in estimate]
    return torch.stack(rows)


def best_assignment(scores: Float[Tensor, "estimate reference"]) -> Int[Tensor, " reference"]:
    """For each reference the estimate taken for it, each at most once, so that the mean score is highest.

    There may be more estimates than references. Of pairs without a score (nan) none is better than another.
    """
    num_estimates, num_references = scores.shape
    if num_estimates < num_references:
        raise SignalError(
            f"{num_references} references cannot be assigned to {num_estimates} estimates", remedy="give as many"
        )
    return cheapest_assignment(-scores.double()[None])[0]
