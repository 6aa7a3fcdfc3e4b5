"""Filters of mapped features against operations on tensors, where there is a compiler; and S4M's block made of them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import TINY
from unbraid.layers.kernels import normed_filter
from unbraid.layers.kernels.moments import moments_reference
from unbraid.layers.kernels.normed_filter import (
    Mapped,
    filter_mapped,
    filter_mapped_reference,
    fuse_gates,
    fuse_gates_reference,
    take_moments,
    write_mapped,
    write_mapped_reference,
)
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.catalog import build_model
from unbraid.models.s4m import block

pytestmark = pytest.mark.usefixtures("compiled_kernels")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def sequence(frames: int, dim: int, coarse: int | None, slope: bool) -> Mapped:
    maps = (None, None) if coarse is None else (torch.randn(2, coarse, dim), torch.randn(2, coarse, dim))
    return Mapped(torch.randn(2, frames, dim), *maps, torch.tensor([0.3]) if slope else None)


@pytest.mark.parametrize("dim", [1, 16, 37, 130])
@pytest.mark.parametrize(("frames", "coarse"), [(1, None), (1, 1), (200, 1), (64, 16), (131, 40), (40, 131)])
@pytest.mark.parametrize(("taps", "stride", "slope"), [(1, 1, False), (5, 1, True), (5, 2, False), (3, 2, True)])
def test_filters_are_those_of_tensors(dim, frames, coarse, taps, stride, slope):
    given = sequence(frames, dim, coarse, slope)
    filters, biases = torch.randn(2, dim, taps), torch.randn(2, dim)
    for shift in (biases, None):
        ours = filter_mapped(given, filters, shift, stride)
        expected = filter_mapped_reference(given, filters, shift, stride)
        for (out, (mean, variance)), (out_, (mean_, variance_)) in zip(ours, expected, strict=True):
            assert torch.allclose(out, out_, atol=1e-5)
            assert torch.allclose(mean, mean_, atol=1e-5)
            assert torch.allclose(variance, variance_, rtol=1e-4, atol=1e-5)
    assert torch.allclose(write_mapped(given), write_mapped_reference(given), atol=1e-6)


@pytest.mark.parametrize("dim", [1, 16, 37])
def test_gates_are_those_of_tensors(dim):
    gate, shift = sequence(50, dim, 1, False), sequence(50, dim, 1, False)
    gate.features[0, 0, 0], gate.features[0, 1, 0] = 1e30, -1e30
    scale, offset = torch.randn(2, 1, dim), torch.randn(2, 1, dim)
    for ours, expected in zip(
        fuse_gates(gate, shift, scale, offset), fuse_gates_reference(gate, shift, scale, offset), strict=True
    ):
        assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 63, 1000])
def test_a_mean_far_from_zero_leaves_the_variance_right(frames):
    """Within what the rounding of a mean in float32 costs: a deviation of 0.001 beside a thousand."""
    features = 1000 + torch.randn(2, frames, 21) * torch.tensor([1.0, 1e-3, 0.0]).repeat(7)
    mean, variance = take_moments(features)
    exact_mean, exact_variance = moments_reference(features.double(), dim=(1,))
    assert torch.allclose(mean.double(), exact_mean, rtol=1e-6)
    assert torch.allclose(variance.double(), exact_variance, rtol=1e-2, atol=1e-9)


def test_threads_do_not_change_a_bit_and_nan_is_not_hidden():
    given, filters = sequence(500, 40, 20, True), torch.randn(1, 40, 5)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(filter_mapped(given, filters)[0])
    finally:
        torch.set_num_threads(before)
    for out, (mean, variance) in found[1:]:
        assert torch.equal(out, found[0][0])
        assert torch.equal(mean, found[0][1][0])
        assert torch.equal(variance, found[0][1][1])
    given.features[0, 100, 3] = float("nan")
    [(out, (mean, _))] = filter_mapped(given, filters)
    assert out[0, 98:103, 3].isnan().all()
    assert out.isnan().sum() == 5
    assert mean.isnan().sum() == 1


def test_what_lies_strided_in_memory_is_read_right():
    given, filters = sequence(30, 8, 5, False), torch.randn(1, 8, 5)
    strided = replace(given, features=given.features.transpose(1, 2).contiguous().transpose(1, 2))
    assert torch.equal(filter_mapped(strided, filters)[0][0], filter_mapped(given, filters)[0][0])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"depth": 1},
        {"depth": 4, "fusion": "previous"},
        {"depth": 4, "decoder_state_space": "coarse"},
        {"depth": 3, "decoder_state_space": "all", "state_space": StateSpaceConfig(state_dim=4)},
        {"coarsest": "attention"},
    ],
)
@pytest.mark.parametrize("samples", [4000, 1237])
def test_the_block_in_few_passes_is_the_block(settings, samples, monkeypatch):
    model = build_model("s4m-tiny", **{**TINY["s4m-tiny"], "hidden_dim": 24, **settings}).eval()
    mixture = torch.randn(2, 1, samples)
    calls = []
    monkeypatch.setattr(block, "run_block", lambda *given, run=block.run_block: calls.append(1) or run(*given))
    ours = model(mixture)
    assert len(calls) == model.config.num_rounds
    monkeypatch.setattr(normed_filter, "takes", lambda _: False)
    assert torch.allclose(ours, model(mixture), atol=1e-5 * float(ours.abs().max()))
    assert len(calls) == model.config.num_rounds


def test_training_takes_the_form_with_gradients():
    with torch.inference_mode(False), torch.enable_grad():
        model = build_model("s4m-tiny", **TINY["s4m-tiny"])
        model(torch.randn(1, 1, 2000)).sum().backward()
    assert all(weight.grad is not None for weight in model.rounds.block.levels.parameters())


def test_who_counts_or_watches_layers_sees_all_of_them():
    model = build_model("s4m-tiny", **TINY["s4m-tiny"]).eval()
    assert normed_filter.takes(torch.zeros(1, 5, 8))
    with FlopCounterMode(display=False):
        assert not normed_filter.takes(torch.zeros(1, 5, 8))
    seen = []
    handle = model.rounds.block.levels[0].conv.register_forward_hook(lambda *_: seen.append(1))
    model(torch.randn(1, 1, 2000))
    assert len(seen) == model.config.num_rounds
    handle.remove()
    model(torch.randn(1, 1, 2000))
    assert len(seen) == model.config.num_rounds
