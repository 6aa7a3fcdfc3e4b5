"""Which estimate belongs to which reference, where the order of the estimates means nothing."""

from __future__ import annotations

import math

import torch

from unbraid.axes import Float, Int, Tensor
from unbraid.errors import SignalError
from unbraid.metrics.ratios import Metric

_FAR = 1e6
"""In place of infinite scores; far beyond any ratio in dB, and small enough to be summed exactly."""


def pairwise(
    metric: Metric, estimate: Float[Tensor, "estimate ..."], reference: Float[Tensor, "reference ..."]
) -> Float[Tensor, "estimate reference"]:
    """The metric of every estimate against every reference."""
    rows = [metric(one.expand_as(reference), reference) for one in estimate]
    return torch.stack(rows)


def best_assignment(scores: Float[Tensor, "estimate reference"]) -> Int[Tensor, " reference"]:
    """For each reference the estimate taken for it, each at most once, so that the mean score is highest.

    There may be more estimates than references. Of pairs without a score (nan) none is better than another.

    Shortest augmenting paths (R. Jonker and A. Volgenant 1987): the time grows with the cube of the sources, so that
    choirs can be assigned as well as pairs.
    """
    num_estimates, num_references = scores.shape
    if num_estimates < num_references:
        raise SignalError(f"{num_references} references cannot be assigned to {num_estimates} estimates: give as many")
    cost = scores.double().nan_to_num(nan=-_FAR, posinf=_FAR, neginf=-_FAR).neg().T.tolist()
    # What an assigned pair has in common with its row and its column; cost - row - column is never below zero.
    of_reference, of_estimate = [0.0] * num_references, [0.0] * num_estimates
    taken: dict[int, int] = {}  # estimate -> reference
    for start in range(num_references):
        shortest, before = [math.inf] * num_estimates, [-1] * num_estimates
        visited: list[int] = []
        reference, length, last = start, 0.0, -1
        while True:
            for one in range(num_estimates):
                if one not in visited:
                    through = length + cost[reference][one] - of_reference[reference] - of_estimate[one]
                    if through < shortest[one]:
                        shortest[one], before[one] = through, last
            last = min((one for one in range(num_estimates) if one not in visited), key=shortest.__getitem__)
            length = shortest[last]
            if last not in taken:
                break
            visited.append(last)
            reference = taken[last]
        of_reference[start] += length
        for one in visited:
            of_reference[taken[one]] += length - shortest[one]
            of_estimate[one] -= length - shortest[one]
        while before[last] >= 0:
            taken[last] = taken[before[last]]
            last = before[last]
        taken[last] = start
    order = {reference: one for one, reference in taken.items()}
    return torch.tensor([order[reference] for reference in range(num_references)], device=scores.device)
