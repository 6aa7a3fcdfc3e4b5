"""The cheapest assignment is the cheapest of all orders."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.signal.assignment import _kept_orders, cheapest_assignment


@given(columns=st.integers(1, 6), spare=st.integers(0, 2), seed=st.integers(0, 10_000), coarse=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_order_is_cheaper(columns, spare, seed, coarse):
    costs = torch.randn(2, columns + spare, columns, generator=torch.Generator().manual_seed(seed))
    if coarse:
        costs = costs.round()  # many ties
    orders = list(permutations(range(columns + spare), columns))
    for one, found in zip(costs.double(), cheapest_assignment(costs).tolist(), strict=True):
        assert len(set(found)) == columns
        total = sum(one[row, column].item() for column, row in enumerate(found))
        assert total == pytest.approx(min(sum(one[row, column].item() for column, row in enumerate(p)) for p in orders))


@pytest.mark.parametrize("num_sources", [2, 3, 4, 5, 12])
def test_a_known_order_is_found(num_sources):
    orders = torch.stack([torch.randperm(num_sources) for _ in range(4)])
    costs = 1.0 - torch.eye(num_sources)[orders]
    assert torch.equal(cheapest_assignment(costs), orders.argsort(dim=1))


@pytest.mark.parametrize("num_sources", [3, 5])
def test_costs_that_are_not_finite_are_great(num_sources):
    costs = torch.zeros(3, num_sources, num_sources)
    costs[0, 0, 0], costs[1, 0, 0], costs[2, 0, 1:] = float("nan"), float("inf"), float("nan")
    found = cheapest_assignment(costs)
    assert found[0, 0] != 0
    assert found[1, 0] != 0
    assert found[2, 0] == 0
    assert cheapest_assignment(costs[:0]).shape == (0, num_sources)


class Assign(torch.nn.Module):
    def forward(self, costs):
        return cheapest_assignment(costs)


def test_after_a_program_was_traced_it_still_works():
    """Orders made for the tracer are none, and were once kept for all who came after."""
    costs, device = torch.tensor([[[3.0, 0.0], [0.0, 3.0]]]), torch.device("cpu")
    _kept_orders.cache_clear()
    program = torch.export.export(Assign(), (costs,), strict=False).module()
    assert type(_kept_orders(2, 2, device)) is torch.Tensor
    assert program(costs).tolist() == cheapest_assignment(costs).tolist() == [[1, 0]]
    assert program(-costs).tolist() == [[0, 1]]
