"""The selective scan compiled for this machine, see `compiled`.

Only a compiled loop keeps the states in registers and the first cache; operations on tensors carry each of them
through memory several times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.compiled import call, library

_NAME = "selective_scan"
_SPAN = 32
"""Frames between two states that are kept for the backward pass; what lies between them fits the second cache."""


def takes(tensors: list[Tensor]) -> bool:
    """Whether the library is there and these operands are for it."""
    kind = tensors[0].dtype
    if kind not in (torch.float32, torch.float64) or any(
        tensor.device.type != "cpu" or tensor.dtype != kind for tensor in tensors
    ):
        return False
    return library(_NAME) is not None


class CompiledScan(torch.autograd.Function):
    """The compiled scan with its gradient, `once_differentiable`."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        outputs, carried = run_forward(*tensors, keep=True)
        ctx.save_for_backward(*tensors, carried)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return run_backward(*ctx.saved_tensors, grad)  # pyright: ignore[reportCallIssue]


def run_forward(
    inputs: Float[Tensor, "batch frame dim"],
    step: Float[Tensor, "batch frame dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch frame state"],
    C: Float[Tensor, "batch frame state"],
    D: Float[Tensor, " dim"],
    *,
    keep: bool = False,
) -> tuple[Float[Tensor, "batch frame dim"], Tensor]:
    """Outputs and, to `keep` for the backward pass, the states before each span of frames."""
    operands = _operands(inputs, step, A, B, C, D)
    (batch, frames, dim), states = inputs.shape, A.shape[1]
    outputs = torch.empty_like(operands[0])
    carried = outputs.new_empty(batch, -(-frames // _SPAN) if keep else 0, states, dim)
    tensors = [*operands, outputs, carried if keep else None]
    _call("forward", outputs.dtype, tensors, batch, frames, dim, states)
    return outputs, carried


def run_backward(
    inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, carried: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the six operands."""
    operands, grad = _operands(inputs, step, A, B, C, D), grad.contiguous()
    (batch, frames, dim), states = inputs.shape, A.shape[1]
    of_inputs, of_step, of_B, of_C = (torch.empty_like(operands[index]) for index in (0, 1, 3, 4))
    of_A = grad.new_empty(batch, states, dim)
    tensors: list[Tensor | None] = [*operands, carried, grad, of_inputs, of_step, of_A, of_B, of_C]
    _call("backward", grad.dtype, tensors, batch, frames, dim, states)
    return of_inputs, of_step, of_A.sum(0).t(), of_B, of_C, (grad * inputs).sum((0, 1))


def _operands(inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in (inputs, step, A.t(), B, C, D)]


def _call(name: str, dtype: torch.dtype, tensors: list[Tensor | None], *sizes: int) -> None:
    call(_NAME, f"scan_{name}_{str(dtype).removeprefix('torch.')}", tensors, *sizes, _SPAN)
