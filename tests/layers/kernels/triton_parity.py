"""The scan in Triton against the loop, in Triton's interpreter.

A program of its own: the interpreter is chosen by `TRITON_INTERPRET=1` before Triton is imported, and reads the source
of what runs, which the tests' checks of types change.
"""

import torch
from triton.runtime import interpreter

from unbraid.layers.kernels.selective_scan import selective_scan_reference
from unbraid.layers.kernels.triton_scan import run_triton

CASES = ((1, 1, 1, 1), (2, 37, 3, 2), (1, 32, 5, 3), (1, 17, 33, 1))
"""Sequences, frames, features, states: less than a tile, whole tiles and more, more features than one program takes."""

_set_attr = interpreter._LangPatchScope.set_attr


def _set_attr_of_numpy_2(scope, target, name, value):
    """A counter of a loop is an array of one, which NumPy from 2.4 on no longer takes for a number."""
    _set_attr(scope, target, name, (lambda self: self.handle.data.item()) if name == "__index__" else value)


def check(batch: int, frames: int, dim: int, state: int) -> None:
    tensors = [
        torch.randn(batch, frames, dim),
        torch.rand(batch, frames, dim) * 0.5,
        -torch.rand(dim, state) * 4,
        torch.randn(batch, frames, state),
        torch.randn(batch, frames, state),
        torch.randn(dim),
    ]
    exact = [tensor.double().requires_grad_() for tensor in tensors]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    outputs, expected = run_triton(*tensors), selective_scan_reference(*exact)
    torch.testing.assert_close(outputs, expected.float(), atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(outputs)
    made, true = torch.autograd.grad(outputs, tensors, weight), torch.autograd.grad(expected, exact, weight.double())
    for ours, theirs in zip(made, true, strict=True):
        torch.testing.assert_close(ours, theirs.float(), atol=2e-5, rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(run_triton(*tensors), outputs)


if __name__ == "__main__":
    torch.manual_seed(0)
    interpreter._LangPatchScope.set_attr = _set_attr_of_numpy_2
    for case in CASES:
        check(*case)
    print("the same")
