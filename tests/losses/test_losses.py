"""Losses against the published implementations' outputs, and their invariances."""

import pytest
import torch

from unbraid.losses.distances import negative_si_sdr, negative_snr
from unbraid.losses.permutation import mean_above, pairwise_distances, reorder
from unbraid.signal.assignment import cheapest_assignment


def best_permutation(distance, estimate, reference):
    """Loss of each item and the order, in the steps that training takes."""
    order = cheapest_assignment(pairwise_distances(distance, estimate, reference).detach())
    return distance(reorder(estimate, order), reference).mean(dim=1), order


@pytest.mark.parametrize(("distance", "prefix"), [(negative_si_sdr, "asteroid_sisdr"), (negative_snr, "asteroid_snr")])
def test_permutation_invariant_losses_equal_the_published_ones(golden, distance, prefix):
    file = golden("loss_pit_a")
    estimate = file["estimate"].unsqueeze(2).requires_grad_()
    losses, order = best_permutation(distance, estimate, file["reference"].unsqueeze(2))
    assert torch.allclose(losses, file[f"{prefix}/loss_per_item"], atol=1e-3)
    assert torch.equal(order, file[f"{prefix}/perm"].long())
    assert torch.allclose(reorder(estimate, order).squeeze(2), file[f"{prefix}/reordered"])
    (gradient,) = torch.autograd.grad(losses.mean(), estimate)
    assert torch.allclose(gradient.squeeze(2), file[f"{prefix}/grad_estimate"], rtol=1e-3, atol=1e-5)


def test_examples_that_are_good_enough_are_dropped_as_published(golden):
    file = golden("loss_pit_a")
    losses, _ = best_permutation(negative_snr, file["estimate"].unsqueeze(2), file["reference"].unsqueeze(2))
    assert torch.allclose(mean_above(losses, None), file["tdanet_snr_threshold0/loss"].squeeze(), atol=1e-3)
    assert torch.allclose(mean_above(losses, -30.0), file["tdanet_snr_threshold1/loss"].squeeze(), atol=1e-3)


def test_unknown_examples_do_not_count_and_none_make_nought():
    losses, known = torch.tensor([-31.0, -5.0, 7.0]), torch.tensor([True, True, False])
    assert mean_above(losses, -30.0, known) == -5
    assert mean_above(losses, None, known) == -18
    assert mean_above(losses, 0.0, known) == -18
    assert mean_above(losses, -30.0, torch.zeros(3, dtype=torch.bool)) == 0


def test_when_all_are_good_enough_all_count():
    assert mean_above(torch.tensor([-31.0, -33.0]), -30.0) == -32


@pytest.mark.parametrize("num_sources", [2, 3, 4])
def test_the_order_of_references_does_not_matter(num_sources):
    estimate, reference = torch.randn(2, 3, num_sources, 1, 200)
    shuffled = reference[:, torch.randperm(num_sources)]
    straight, _ = best_permutation(negative_si_sdr, estimate, reference)
    turned, _ = best_permutation(negative_si_sdr, estimate, shuffled)
    assert torch.allclose(straight, turned, atol=1e-5)


def test_the_scale_of_the_estimate_matters_to_one_and_not_the_other():
    estimate, reference = torch.randn(2, 1, 1, 500)
    assert torch.allclose(negative_si_sdr(3 * estimate, reference), negative_si_sdr(estimate, reference), atol=1e-4)
    assert not torch.allclose(negative_snr(3 * estimate, reference), negative_snr(estimate, reference), atol=1e-1)


def test_silence_stays_finite():
    silence = torch.zeros(1, 1, 100)
    for distance in (negative_si_sdr, negative_snr):
        assert distance(silence, silence).isfinite().all()
