"""The cheapest assignment of rows to columns, such as estimates to references."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import torch

from unbraid.axes import Float, Int, Tensor

_MOST_TRIED = 3
_FAR = 1e6
"""In place of costs that are not finite: beyond any ratio in dB, and small enough to be summed exactly."""


def cheapest_assignment(costs: Float[Tensor, "batch row column"]) -> Int[Tensor, "batch column"]:
    """For each column the row assigned to it, each row at most once, so that the sum of costs[row, column] is least.

    There are at least as many rows as columns. nan counts as a great cost. Of up to three rows all orders are tried
    where the costs are, so that a GPU does not wait for the CPU; more are left to SciPy, in time cubic in their number.
    """
    num_rows, num_columns = costs.shape[1:]
    assert num_rows >= num_columns, f"{num_columns} columns cannot be served by {num_rows} rows"
    costs = costs.detach().nan_to_num(nan=_FAR, posinf=_FAR, neginf=-_FAR)
    if num_rows <= _MOST_TRIED:
        # What is made while a program is traced stands for a tensor and must not be kept.
        make = _all_orders if torch.compiler.is_compiling() else _kept_orders
        orders = make(num_rows, num_columns, costs.device)
        # (batch, order): entry (o, j) takes the row o[j] for the column j.
        totals = costs[:, orders, torch.arange(num_columns, device=costs.device)].sum(dim=-1)
        return orders[totals.argmin(dim=-1)]
    from scipy.optimize import linear_sum_assignment

    # Transposed, its rows are our columns and come in order.
    found = [torch.from_numpy(linear_sum_assignment(one)[1]) for one in costs.mT.double().cpu().numpy()]
    return torch.stack(found).to(costs.device) if found else costs.new_zeros((0, num_columns), dtype=torch.long)


def _all_orders(num_rows: int, num_columns: int, device: torch.device) -> Int[Tensor, "order column"]:
    return torch.tensor(list(permutations(range(num_rows), num_columns)), device=device)


_kept_orders = cache(_all_orders)
"""A GPU would wait for what is copied to it, so that it is copied once."""
