"""The best assignment is the best of all permutations."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import SignalError
from unbraid.metrics.assignment import best_assignment, pairwise
from unbraid.metrics.ratios import si_sdr


@given(st.integers(1, 5), st.integers(0, 2), st.integers(0, 10_000))
@settings(deadline=None)
def test_no_permutation_is_better(num_references, spare, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = 10 * torch.randn(num_references + spare, num_references, generator=generator)
    order = best_assignment(scores).tolist()
    assert len(set(order)) == num_references
    total = sum(scores[one, reference].item() for reference, one in enumerate(order))
    everything = permutations(range(num_references + spare), num_references)
    best = max(sum(scores[one, reference].item() for reference, one in enumerate(p)) for p in everything)
    assert total == pytest.approx(best, abs=1e-5)


def test_shuffled_estimates_come_back():
    reference = torch.randn(12, 200)
    shuffle = torch.randperm(12)
    order = best_assignment(pairwise(si_sdr, reference[shuffle] + 0.1 * torch.randn(12, 200), reference))
    assert torch.equal(shuffle[order], torch.arange(12))


def test_scores_that_are_not_finite_take_part():
    scores = torch.tensor([[float("-inf"), 1.0], [float("nan"), float("inf")]])
    assert best_assignment(scores).tolist() == [0, 1]
    assert best_assignment(torch.full((2, 2), torch.nan)).sort().values.tolist() == [0, 1]


def test_too_few_estimates_are_refused():
    with pytest.raises(SignalError, match="3 references"):
        best_assignment(torch.zeros(2, 3))
