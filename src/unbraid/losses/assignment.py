"""The cheapest assignment of estimates to references: all orders for up to three sources, else the Hungarian method.

H. W. Kuhn, "The Hungarian method for the assignment problem", 1955, in the form that adds one reference at a time
along a shortest augmenting path: exact, and cubic in the number of sources.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch

from unbraid.axes import Float, Int, Tensor

_MOST_TRIED = 3


def cheapest_assignment(pairwise: Float[Tensor, "batch source source"]) -> Int[Tensor, "batch source"]:
    """For each reference j the estimate i that it gets, so that the sum of pairwise[i, j] is least."""
    if pairwise.shape[-1] <= _MOST_TRIED:
        return _try_all(pairwise)
    orders = [hungarian(costs) for costs in pairwise.detach().double().nan_to_num(nan=1e9).tolist()]
    return torch.tensor(orders, device=pairwise.device)


def _try_all(pairwise: Tensor) -> Tensor:
    num_sources = pairwise.shape[-1]
    orders = torch.tensor(list(permutations(range(num_sources))), device=pairwise.device)
    slots = torch.arange(num_sources, device=pairwise.device)
    # (batch, order): entry (o, j) takes the estimate o[j] for the reference j.
    totals = pairwise[:, orders, slots].mean(dim=-1)
    return orders[totals.argmin(dim=-1)]


def hungarian(costs: list[list[float]]) -> list[int]:
    """For each column the row assigned to it.

    `rows` and `columns` are the dual prices: rows[i] + columns[j] <= costs[i][j], with equality along the assignment.
    """
    size = len(costs)
    rows, columns = [0.0] * size, [0.0] * size
    row_of: list[int] = [-1] * size
    for new in range(size):
        # Dijkstra from the new row over reduced costs, until a column without a row is reached.
        distance, came_from = [math.inf] * size, [-1] * size
        done: list[int] = []
        row, column, travelled = new, -1, 0.0
        while True:
            for other in range(size):
                if other not in done:
                    reduced = travelled + costs[row][other] - rows[row] - columns[other]
                    if reduced < distance[other]:
                        distance[other], came_from[other] = reduced, column
            column = min((other for other in range(size) if other not in done), key=distance.__getitem__)
            travelled = distance[column]
            if row_of[column] < 0:
                break
            done.append(column)
            row = row_of[column]
        rows[new] += travelled
        for other in done:
            slack = travelled - distance[other]
            rows[row_of[other]] += slack
            columns[other] -= slack
        # Walk the path back: every column on it takes the row of the column before.
        while came_from[column] >= 0:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
        row_of[column] = new
    return row_of
