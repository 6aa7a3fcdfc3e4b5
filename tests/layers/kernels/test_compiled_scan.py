"""The compiled scan against the loop, where there is a compiler; and what happens where there is none."""

import pytest
import torch

from tests.conftest import forget_libraries
from tests.layers.kernels.test_selective_scan import operands
from unbraid.layers.kernels.compiled import describe, library
from unbraid.layers.kernels.compiled_scan import CompiledScan
from unbraid.layers.kernels.selective_scan import selective_scan, selective_scan_reference


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 101, 5, 3), (2, 64, 16, 8), (4, 33, 3, 2)])
def test_outputs_and_gradients_are_those_of_the_loop(sizes):
    tensors = [tensor.requires_grad_() for tensor in operands(*sizes)[:6]]
    fast, slow = selective_scan(*tensors), selective_scan_reference(*tensors)
    assert isinstance(fast.grad_fn, CompiledScan._backward_cls)
    assert torch.allclose(fast, slow, atol=1e-12)
    weight = torch.randn_like(fast)
    for ours, expected in zip(
        torch.autograd.grad(fast, tensors, weight), torch.autograd.grad(slow, tensors, weight), strict=True
    ):
        assert torch.allclose(ours, expected, atol=1e-11)
    with torch.no_grad():
        assert torch.equal(selective_scan(*tensors), fast)


@pytest.mark.usefixtures("compiled_kernels")
def test_gradients_by_finite_differences():
    tensors = [tensor.requires_grad_() for tensor in operands(2, 37, dim=2)]
    assert torch.autograd.gradcheck(selective_scan, tensors, fast_mode=True)


@pytest.mark.usefixtures("compiled_kernels")
def test_float32_is_as_exact_as_the_loop():
    exact = operands(3, 300, 8, 4)[:6]
    rough = [tensor.float() for tensor in exact]
    error = (selective_scan(*rough) - selective_scan_reference(*exact)).abs().max()
    assert error < 3 * (selective_scan_reference(*rough) - selective_scan_reference(*exact)).abs().max() + 1e-6


@pytest.mark.usefixtures("compiled_kernels")
def test_what_lies_strided_in_memory_is_read_right():
    tensors = operands(4, 20, 6, 4)[:6]
    strided = [tensor.transpose(0, -1).contiguous().transpose(0, -1) for tensor in tensors]
    assert torch.allclose(selective_scan(*strided), selective_scan_reference(*tensors), atol=1e-12)


@pytest.mark.usefixtures("compiled_kernels")
def test_extreme_steps_stay_finite_and_nan_is_not_hidden():
    inputs, step, A, B, C, D = operands(2, 20)[:6]
    for scale in (0.0, 1e-30, 1e5):
        ours = selective_scan(inputs, step * scale, A, B, C, D)
        assert torch.allclose(ours, selective_scan_reference(inputs, step * scale, A, B, C, D), rtol=1e-10)
    step[0, 3, 0] = float("nan")
    ours = selective_scan(inputs, step, A, B, C, D)
    assert torch.equal(ours.isnan(), selective_scan_reference(inputs, step, A, B, C, D).isnan())


@pytest.mark.parametrize(
    ("settings", "reason"), [({"UNBRAID_COMPILED_KERNELS": "0"}, "=0"), ({"CXX": "false"}, "fails")]
)
def test_without_it_the_scan_is_as_it_was(settings, reason, monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_COMPILED_KERNELS", "1")
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    forget_libraries()
    try:
        assert library("selective_scan") is None
        assert reason in describe("selective_scan")
        tensors = operands(2, 9)[:6]
        assert torch.allclose(selective_scan(*tensors), selective_scan_reference(*tensors), atol=1e-12)
        assert not list(tmp_path.rglob("*.part"))
    finally:
        forget_libraries()
