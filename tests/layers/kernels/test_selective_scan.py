"""The fast scan against the slow one, against closed forms, and at the edges of what floating point holds."""

import sys
import types

import pytest
import torch
from torch.nn import functional as F

from unbraid.layers.kernels import selective_scan as module
from unbraid.layers.kernels.selective_scan import (
    fused_scan,
    plan_blocks,
    selective_scan,
    selective_scan_reference,
    spans,
)


def operands(batch, frames, dim=3, state=2, dtype=torch.float64):
    return [
        torch.randn(batch, frames, dim, dtype=dtype),
        torch.rand(batch, frames, dim, dtype=dtype) * 0.5,
        -torch.rand(dim, state, dtype=dtype) * 4,
        torch.randn(batch, frames, state, dtype=dtype),
        torch.randn(batch, frames, state, dtype=dtype),
        torch.randn(dim, dtype=dtype),
        torch.randn(batch, frames, dim, dtype=dtype),
    ]


@pytest.fixture
def small_blocks(monkeypatch):
    """Spans of 16 sequences and of few frames, so that small tensors are cut up as large ones are."""
    monkeypatch.setitem(module._STATES_IN_FRAME, "cpu", 1)
    monkeypatch.setitem(module._STATES_IN_BLOCK, "cpu", 400)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (1, 2), (5, 7), (3, 101), (16, 4), (33, 29)])
@pytest.mark.usefixtures("small_blocks")
def test_outputs_and_gradients_are_those_of_the_loop(batch, frames, gated):
    tensors = [tensor.requires_grad_() for tensor in operands(batch, frames)[: 7 if gated else 6]]
    fast, slow = selective_scan(*tensors), selective_scan_reference(*tensors)
    assert torch.allclose(fast, slow, atol=1e-12)
    weight = torch.randn_like(fast)
    for ours, expected in zip(
        torch.autograd.grad(fast, tensors, weight), torch.autograd.grad(slow, tensors, weight), strict=True
    ):
        assert torch.allclose(ours, expected, atol=1e-11)
    with torch.no_grad():
        assert torch.equal(selective_scan(*tensors), fast)


@pytest.mark.usefixtures("small_blocks")
def test_gradients_by_finite_differences():
    tensors = [tensor.requires_grad_() for tensor in operands(17, 5, dim=2)]
    inputs, A = tensors[0], tensors[2]
    assert plan_blocks(inputs, A)[0] < 17, "the test is to cross the edge of a span of sequences"
    assert torch.autograd.gradcheck(selective_scan, tensors, fast_mode=True)
    tensors = [tensor.requires_grad_() for tensor in operands(2, 9, dim=2)]
    assert torch.autograd.gradcheck(selective_scan, tensors)


def test_usual_sizes_in_float32():
    tensors = operands(19, 150, dim=32, state=8, dtype=torch.float32)
    expected = selective_scan_reference(*(tensor.double() for tensor in tensors))
    assert torch.allclose(selective_scan(*tensors), expected.float(), atol=3e-5)


def test_a_constant_system_is_a_geometric_sum():
    ones = torch.ones(1, 50, 1, dtype=torch.float64)
    rate, step = torch.tensor([[-2.0]], dtype=torch.float64), 0.3
    outputs = selective_scan(ones, step * ones, rate, ones, ones, torch.tensor([0.5], dtype=torch.float64))
    decay = torch.exp(step * rate).item()
    expected = 0.5 + step * (1 - decay ** torch.arange(1, 51, dtype=torch.float64)) / (1 - decay)
    assert torch.allclose(outputs.flatten(), expected, atol=1e-12)


@pytest.mark.parametrize("step", [0.0, 1e-30, 1e2, 1e6, 1e30])
def test_any_step_stays_finite_over_long_sequences(step):
    inputs, _, A, B, C, D, gate = operands(2, 3001, dtype=torch.float32)
    inputs = inputs / max(step, 1)
    tensors = [t.requires_grad_() for t in (inputs, torch.full_like(inputs, step), A, B, C, D, gate)]
    outputs = selective_scan(*tensors)
    assert outputs.isfinite().all()
    assert torch.allclose(outputs, selective_scan_reference(*tensors), atol=1e-4, rtol=1e-4)
    gradients = torch.autograd.grad(outputs.square().mean(), [inputs, *(tensors[2:])])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_no_frames_and_no_sequences():
    for batch, frames in ((0, 5), (2, 0), (0, 0)):
        assert selective_scan(*operands(batch, frames)).shape == (batch, frames, 3)


def test_bfloat16_goes_in_and_out_and_float32_is_between():
    tensors = operands(2, 40, dtype=torch.float32)
    exact = selective_scan(*tensors)
    half = [tensor.bfloat16() for tensor in tensors]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = selective_scan(*half)
        assert torch.equal(selective_scan(*tensors), exact)
    assert outputs.dtype == torch.bfloat16
    expected = selective_scan(*(tensor.float() for tensor in half)).bfloat16()
    assert torch.equal(outputs, expected)


def test_strides_do_not_matter():
    tensors = operands(4, 21)
    strided = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
    assert torch.allclose(selective_scan(*strided), selective_scan(*tensors), atol=1e-13)
    assert selective_scan(*strided).is_contiguous()


@pytest.mark.parametrize(("batch", "dim", "state"), [(1, 4, 2), (516, 32, 8), (1033, 32, 8), (8, 2048, 16)])
def test_spans_are_balanced_and_bounded(batch, dim, state):
    rows, frames = plan_blocks(torch.empty(1, 1, 1).expand(batch, 1089, dim), torch.empty(dim, state))
    lengths = [span.stop - span.start for span in spans(batch, rows)]
    assert sum(lengths) == batch
    assert max(lengths) - min(lengths) < len(lengths) + 1
    assert rows <= max(16, 2**15 // (dim * state))
    assert frames == 1 or rows * dim * state * frames <= 2**19


def fused_double(inputs, step, A, B, C, D):
    """Frames last, as mamba-ssm has it."""
    swapped = [tensor.transpose(1, 2) for tensor in (inputs, step, B, C)]
    return selective_scan_reference(swapped[0], swapped[1], A, swapped[2], swapped[3], D).transpose(1, 2)


def test_the_kernel_of_mamba_ssm_is_found_and_called_as_it_wants(monkeypatch):
    package, double = types.ModuleType("mamba_ssm.ops.selective_scan_interface"), fused_double
    package.selective_scan_fn = double
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    fused_scan.cache_clear()
    try:
        assert fused_scan() is double
        tensors = operands(2, 11)
        outputs = module.run_fused(double, *tensors[:6])
        assert torch.allclose(outputs * F.silu(tensors[6]), selective_scan(*tensors), atol=1e-12)
    finally:
        fused_scan.cache_clear()


def test_without_mamba_ssm_there_is_no_kernel_and_no_complaint(monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    fused_scan.cache_clear()
    assert fused_scan() is None
    fused_scan.cache_clear()
    assert not recwarn
