"""The selective scan for GPUs, in Triton, forward and backward.

A program has one sequence and some features, and passes over the frames a tile at a time. Within a tile the recurrence
h_t = a_t h_{t-1} + b_t is an associative scan of the pairs (a, b), all frames at once in registers; the state goes on
from tile to tile. Each operand is read once, and of the states those before each tile are kept for the backward pass,
which computes the rest again. Padded frames have dt = 0: they keep the state and add nothing to it.

Triton comes with PyTorch where there is a GPU for it, and is imported at the first use.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from unbraid.axes import Float, Tensor

_FRAMES = 16
"""Frames of a tile; with 32 features and 8 states it holds 4096 numbers, 32 for each thread of four warps."""
_MOST_FEATURES = 32


@triton.jit
def _after(decay_one, drive_one, decay_two, drive_two):
    """Two steps of the recurrence as one."""
    return decay_one * decay_two, drive_one * decay_two + drive_two


@triton.jit
def _forward(
    inputs, step, A, B, C, D, outputs, carried,
    num_frames, num_tiles, dim, states,
    KEEP: tl.constexpr, FRAMES: tl.constexpr, DIM: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    row, features, state = tl.program_id(0), tl.program_id(1) * DIM + tl.arange(0, DIM), tl.arange(0, STATES)
    known, within = features < dim, state < states
    square = known[:, None] & within[None, :]
    rate = tl.load(A + features[:, None] * states + state[None, :], square, 0.0)
    skip = tl.load(D + features, known, 0.0)
    carry = tl.zeros((DIM, STATES), rate.dtype)
    for tile in range(num_tiles):
        local = tl.arange(0, FRAMES)
        frame = tile * FRAMES + local
        there = frame < num_frames
        at = row.to(tl.int64) * num_frames + frame
        wide, narrow = there[:, None] & known[None, :], there[:, None] & within[None, :]
        place, mapped = at[:, None] * dim + features[None, :], at[:, None] * states + state[None, :]
        x, dt = tl.load(inputs + place, wide, 0.0), tl.load(step + place, wide, 0.0)
        in_map, out_map = tl.load(B + mapped, narrow, 0.0), tl.load(C + mapped, narrow, 0.0)
        if KEEP:
            begin = ((row.to(tl.int64) * num_tiles + tile) * dim + features[:, None]) * states + state[None, :]
            tl.store(carried + begin, carry, square)
        decay = tl.exp(dt[:, :, None] * rate[None, :, :])
        drive = (dt * x)[:, :, None] * in_map[:, None, :]
        drive += tl.where((local == 0)[:, None, None], decay * carry[None, :, :], 0.0)
        _, reached = tl.associative_scan((decay, drive), 0, _after)
        y = tl.sum(reached * out_map[:, None, :], 2) + skip[None, :] * x
        tl.store(outputs + place, y, wide)
        carry = tl.sum(tl.where((local == FRAMES - 1)[:, None, None], reached, 0.0), 0)


@triton.jit
def _backward(
    inputs, step, A, B, C, carried, grad,
    of_inputs, of_step, of_A, of_B, of_C,
    num_rows, num_frames, num_tiles, dim, states,
    FRAMES: tl.constexpr, DIM: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    row, part, state = tl.program_id(0), tl.program_id(1), tl.arange(0, STATES)
    features = part * DIM + tl.arange(0, DIM)
    known, within = features < dim, state < states
    square = known[:, None] & within[None, :]
    rate = tl.load(A + features[:, None] * states + state[None, :], square, 0.0)
    rate_grad = tl.zeros((DIM, STATES), rate.dtype)
    arriving = tl.zeros((DIM, STATES), rate.dtype)
    for back in range(num_tiles):
        tile = num_tiles - 1 - back
        local = tl.arange(0, FRAMES)
        frame = tile * FRAMES + local
        there, followed = frame < num_frames, frame + 1 < num_frames
        at = row.to(tl.int64) * num_frames + frame
        wide, narrow = there[:, None] & known[None, :], there[:, None] & within[None, :]
        place, mapped = at[:, None] * dim + features[None, :], at[:, None] * states + state[None, :]
        x, dt = tl.load(inputs + place, wide, 0.0), tl.load(step + place, wide, 0.0)
        next_dt = tl.load(step + place + dim, followed[:, None] & known[None, :], 0.0)
        in_map, out_map = tl.load(B + mapped, narrow, 0.0), tl.load(C + mapped, narrow, 0.0)
        dy = tl.load(grad + place, wide, 0.0)
        begin = ((row.to(tl.int64) * num_tiles + tile) * dim + features[:, None]) * states + state[None, :]
        carry = tl.load(carried + begin, square, 0.0)

        first, last = (local == 0)[:, None, None], (local == FRAMES - 1)[:, None, None]
        decay = tl.exp(dt[:, :, None] * rate[None, :, :])
        drive = (dt * x)[:, :, None] * in_map[:, None, :]
        kept = tl.where(first, decay * carry[None, :, :], 0.0)
        _, reached = tl.associative_scan((decay, drive + kept), 0, _after)
        # What is left of the state before: the frame's own part taken off, which saves moving a tile by a frame.
        remaining = reached - drive
        # The gradient of the states runs backwards:  g_t = C_t dy_t + exp(dt_{t+1} A) g_{t+1}.
        next_decay = tl.exp(next_dt[:, :, None] * rate[None, :, :])
        source = dy[:, :, None] * out_map[:, None, :]
        source += tl.where(last, next_decay * arriving[None, :, :], 0.0)
        _, g = tl.associative_scan((next_decay, source), 0, _after, reverse=True)
        arriving = tl.sum(tl.where(first, g, 0.0), 0)

        exponent = g * remaining
        drive_grad = tl.sum(g * in_map[:, None, :], 2)
        tl.store(of_inputs + place, drive_grad * dt, wide)
        tl.store(of_step + place, drive_grad * x + tl.sum(exponent * rate[None, :, :], 2), wide)
        rate_grad += tl.sum(exponent * dt[:, :, None], 0)
        # A part for each span of features; they are added up outside.
        mine = part.to(tl.int64) * num_rows * num_frames * states + mapped
        tl.store(of_B + mine, tl.sum(g * (dt * x)[:, :, None], 1), narrow)
        tl.store(of_C + mine, tl.sum(reached * dy[:, :, None], 1), narrow)
    tl.store(of_A + (row.to(tl.int64) * dim + features[:, None]) * states + state[None, :], rate_grad, square)


class TritonScan(torch.autograd.Function):
    """The scan with its gradient, `once_differentiable`."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        operands = [tensor.contiguous() for tensor in tensors]
        outputs, carried = scan_forward(*operands, keep=True)
        ctx.save_for_backward(*operands, carried)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        inputs, step, A, B, C, D, carried = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        return scan_backward(inputs, step, A, B, C, D, carried, grad.contiguous())


def run_triton(*tensors: Tensor) -> Float[Tensor, "batch frame dim"]:
    """The scan of the six operands of `selective_scan`, all in float32 on one GPU."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return TritonScan.apply(*tensors)  # type: ignore[return-value]
    return scan_forward(*(tensor.contiguous() for tensor in tensors))[0]


def scan_forward(
    inputs: Float[Tensor, "batch frame dim"],
    step: Float[Tensor, "batch frame dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch frame state"],
    C: Float[Tensor, "batch frame state"],
    D: Float[Tensor, " dim"],
    *,
    keep: bool = False,
) -> tuple[Float[Tensor, "batch frame dim"], Float[Tensor, "batch tile dim state"]]:
    """Outputs and, to `keep` for the backward pass, the states before each tile."""
    (batch, frames, dim), states = inputs.shape, A.shape[1]
    tiles, sizes = triton.cdiv(frames, _FRAMES), _sizes(dim, states)
    outputs = torch.empty_like(inputs)
    carried = inputs.new_empty(batch, tiles if keep else 0, dim, states)
    grid = (batch, triton.cdiv(dim, sizes["DIM"]))
    if batch and frames:
        _forward[grid](inputs, step, A, B, C, D, outputs, carried, frames, tiles, dim, states, KEEP=keep, **sizes)
    return outputs, carried


def scan_backward(
    inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, carried: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the six operands."""
    (batch, frames, dim), states = inputs.shape, A.shape[1]
    tiles, sizes = triton.cdiv(frames, _FRAMES), _sizes(dim, states)
    parts = triton.cdiv(dim, sizes["DIM"])
    of_inputs, of_step = torch.empty_like(inputs), torch.empty_like(step)
    of_A, of_B, of_C = (inputs.new_zeros(batch, dim, states), *(B.new_zeros(parts, *B.shape) for _ in range(2)))
    if batch and frames:
        operands = (inputs, step, A, B, C, carried, grad, of_inputs, of_step, of_A, of_B, of_C)
        _backward[(batch, parts)](*operands, batch, frames, tiles, dim, states, **sizes)
    return of_inputs.addcmul_(D, grad), of_step, of_A.sum(0), of_B.sum(0), of_C.sum(0), (grad * inputs).sum((0, 1))


def _sizes(dim: int, states: int) -> dict[str, int]:
    """Tiles have powers of two for sizes."""
    features = min(_MOST_FEATURES, triton.next_power_of_2(dim))
    return {"FRAMES": _FRAMES, "DIM": features, "STATES": triton.next_power_of_2(states)}
