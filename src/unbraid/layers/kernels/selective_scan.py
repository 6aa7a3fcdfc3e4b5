"""The selective scan of Mamba: a diagonal linear recurrence whose step, input map and output map follow the input.

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024 (Mamba-1, section 3).

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t        one state of size `state` for each of `dim` features
    y_t = C_t . h_t + D x_t

`selective_scan` is the fast way and `selective_scan_reference` its slow twin, the two lines above as a loop.

On CPUs a compiled loop runs where there is a C++ compiler, see `compiled_scan`, and on GPUs one in Triton, see
`triton_scan`; what follows runs where there is neither.

How the fast way works. All states of 500 sequences of 1000 frames, 32 features and 8 states are 0.6 GB, and passes
over as much memory cost more than the arithmetic. So sequences are taken some at a time and frames in blocks, small
enough for a block to stay in the processor's cache; only the states between blocks are kept for the backward pass,
which computes the rest again. Within a block everything is one operation over all frames but the recurrence itself,
one fused multiply-add per frame. Sequences lie innermost, (frame, state, dim, batch): dt and x are the same for all
states, B and C for all features, and in this order their products run along contiguous memory.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.compiled_scan import CompiledScan, run_forward, takes
from unbraid.layers.norms import at_least_float32

_STATES_IN_FRAME = {"cpu": 2**15}
_STATES_IN_BLOCK = {"cpu": 2**19}
"""How much a frame and a block may hold. On a CPU: what the cache does; elsewhere (2**22, 2**25): enough to be busy."""


def selective_scan(
    inputs: Float[Tensor, "batch frame dim"],
    step: Float[Tensor, "batch frame dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch frame state"],
    C: Float[Tensor, "batch frame state"],
    D: Float[Tensor, " dim"],
    gate: Float[Tensor, "batch frame dim"] | None = None,
) -> Float[Tensor, "batch frame dim"]:
    """Runs the recurrence from a state of zero; with a `gate`, the output is multiplied by SiLU(gate).

    `step` is dt > 0, in frames, and `A` is negative. Computes in float32 at least, also under autocast, and returns
    the dtype of `inputs`. On CUDA the fused kernel of the package mamba-ssm runs instead where that is installed, and
    ours in Triton elsewhere.
    """
    tensors = [at_least_float32(tensor) for tensor in (inputs, step, A, B, C, D)]
    with torch.autocast(inputs.device.type, enabled=False):
        on_gpu = inputs.is_cuda and tensors[0].dtype == torch.float32
        if on_gpu and (fused := fused_scan()) is not None:
            outputs = run_fused(fused, *tensors)
        elif torch.compiler.is_compiling():
            # Spans of sequences would fix the batch size of what is traced; the loop fixes no more than the frames.
            outputs = selective_scan_reference(*tensors)
        elif on_gpu and (in_triton := triton_scan()) is not None:
            outputs = in_triton(*tensors)
        elif takes(tensors):
            gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
            outputs = CompiledScan.apply(*tensors) if gradient else run_forward(*tensors)[0]
        elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            outputs = SelectiveScan.apply(*tensors)
        else:
            outputs, _ = scan_forward(*tensors)
        assert isinstance(outputs, Tensor)
        if gate is not None:
            outputs = outputs * F.silu(at_least_float32(gate))
    return outputs.to(inputs.dtype)


def selective_scan_reference(
    inputs: Float[Tensor, "batch frame dim"],
    step: Float[Tensor, "batch frame dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch frame state"],
    C: Float[Tensor, "batch frame state"],
    D: Float[Tensor, " dim"],
    gate: Float[Tensor, "batch frame dim"] | None = None,
) -> Float[Tensor, "batch frame dim"]:
    """As `selective_scan`, one frame after the other, in the dtype of the tensors: its slow twin."""
    decay = torch.exp(step[..., None] * A)
    drive = (step * inputs)[..., None] * B[:, :, None, :]
    state, outputs = torch.zeros_like(drive[:, 0]), []
    for decay_now, drive_now, C_now in zip(decay.unbind(1), drive.unbind(1), C.unbind(1), strict=True):
        state = decay_now * state + drive_now
        outputs.append(torch.einsum("bds,bs->bd", state, C_now))
    scanned = torch.stack(outputs, dim=1) + D * inputs
    return scanned if gate is None else scanned * F.silu(gate)


@cache
def fused_scan() -> Callable[..., Tensor] | None:
    """The kernel of the package mamba-ssm, or None where that is missing or does not go with this PyTorch."""
    try:
        return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except (ImportError, AttributeError, OSError, RuntimeError):
        return None


@cache
def triton_scan() -> Callable[..., Tensor] | None:
    """Our kernel for GPUs, or None where Triton is missing."""
    try:
        return importlib.import_module("unbraid.layers.kernels.triton_scan").run_triton
    except ImportError:
        return None


def run_fused(
    fused: Callable[..., Tensor], inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor
) -> Tensor:
    """The kernel of mamba-ssm on our tensors: there, frames lie last."""
    inputs, step, B, C = (tensor.transpose(1, 2).contiguous() for tensor in (inputs, step, B, C))
    return fused(inputs, step, A.contiguous(), B, C, D).transpose(1, 2)


class SelectiveScan(torch.autograd.Function):
    """`scan_forward` with its gradient."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:  # type: ignore[override]
        outputs, carried = scan_forward(*tensors, keep=True)
        ctx.save_for_backward(*tensors, *carried)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        # Checkpointing hands these out once.
        saved = ctx.saved_tensors
        return scan_backward(*saved[:6], carried=saved[6:], grad=grad)


def scan_forward(
    inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, *, keep: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Outputs and, to `keep` for the backward pass, the states before each block, one tensor for each span of rows."""
    outputs, carried = torch.empty_like(inputs, memory_format=torch.contiguous_format), []
    rows_at_once, frames_at_once = plan_blocks(inputs, A)
    for rows in spans(inputs.shape[0], rows_at_once):
        block = ScanBlock(inputs[rows], step[rows], A, B[rows], C[rows], frames_at_once)
        frame_spans = spans(inputs.shape[1], frames_at_once)
        state = block.zero_state()
        before = state.new_empty(len(frame_spans) if keep else 0, *state.shape)
        for index, frames in enumerate(frame_spans):
            if keep:
                before[index] = state
            block.run(frames, state)
            state = block.states[-1]
            weighed = torch.mul(block.states[1:], block.C, out=block.decay)
            torch.sum(weighed, 1, keepdim=True, out=block.drive)
            outputs[rows, frames].permute(1, 2, 0).copy_(block.drive[:, 0])
        carried.append(before)
    return outputs.addcmul_(D, inputs), carried


def scan_backward(
    inputs: Tensor,
    step: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    carried: tuple[Tensor, ...],
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the six operands. That of the state,

        g_t = C_t dy_t + exp(dt_{t+1} A) g_{t+1},

    runs backwards in time; the exponent dt_t A gets  q_t = g_t exp(dt_t A) h_{t-1}.
    """
    grad_inputs, grad_step, grad_B, grad_C = (torch.empty_like(tensor) for tensor in (inputs, step, B, C))
    grad_A, rate = torch.zeros_like(A), A.t()[..., None]
    rows_at_once, frames_at_once = plan_blocks(inputs, A)
    for rows, before in zip(spans(inputs.shape[0], rows_at_once), carried, strict=True):
        block = ScanBlock(inputs[rows], step[rows], A, B[rows], C[rows], frames_at_once)
        space = [torch.empty_like(block.space[-1]) for _ in range(2)]
        arriving = block.zero_state()
        for index, frames in reversed(list(enumerate(spans(inputs.shape[1], frames_at_once)))):
            count = block.run(frames, before[index])
            grads, scratch = (tensor[:count] for tensor in space)
            grad_outputs = batch_last(grad[rows, frames])[:, None]
            torch.mul(block.C, grad_outputs, out=grads)
            steps, decays = grads.unbind(0), block.decay.unbind(0)
            steps[-1].add_(arriving)
            for frame in range(count - 2, -1, -1):
                steps[frame].addcmul_(decays[frame + 1], steps[frame + 1])
            torch.mul(decays[0], steps[0], out=arriving)

            of_C = torch.mul(block.states[1:], grad_outputs, out=scratch).sum(2)
            grad_C[rows, frames] = of_C.permute(2, 0, 1)
            of_B = torch.mul(grads, block.drive, out=scratch).sum(2)
            grad_B[rows, frames] = of_B.permute(2, 0, 1)
            of_drive = torch.mul(grads, block.B, out=scratch).sum(1)
            of_exponent = grads.mul_(block.states[:-1]).mul_(block.decay)
            of_step = torch.mul(of_exponent, rate, out=scratch).sum(1)
            grad_A += torch.mul(of_exponent, block.step, out=scratch).sum((0, 3)).t()
            grad_step[rows, frames] = of_step.addcmul_(of_drive, block.inputs[:, 0]).permute(2, 0, 1)
            grad_inputs[rows, frames] = of_drive.mul_(block.step[:, 0]).permute(2, 0, 1)
    grad_D = (grad * inputs).sum((0, 1))
    return grad_inputs.addcmul_(D, grad), grad_step, grad_A, grad_B, grad_C, grad_D


class ScanBlock:
    """Some frames of some sequences at a time: all that the recurrence needs there, and its states."""

    def __init__(self, inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, frames_at_once: int) -> None:
        self._operands = [tensor.permute(1, 2, 0) for tensor in (inputs, step, B, C)]
        # Powers of two take a quarter of the time of powers of e.
        self._rate = (A * math.log2(math.e)).t().contiguous()[..., None]
        batch, num_frames, _ = inputs.shape
        dim, state = A.shape
        frames = min(frames_at_once, num_frames)
        shapes = (1, dim), (1, dim), (state, 1), (state, 1), (1, dim), (state, dim)
        self.space = [inputs.new_empty(frames, *shape, batch) for shape in shapes]
        self._all_states = inputs.new_empty(frames + 1, state, dim, batch)

    def zero_state(self) -> Tensor:
        return torch.zeros_like(self._all_states[0])

    def run(self, frames: slice, state: Tensor) -> int:
        """Runs the recurrence over `frames` from `state`; afterwards `states` holds one more, `state` first."""
        count = frames.stop - frames.start
        tensors = [tensor[:count] for tensor in self.space]
        for tensor, operand in zip(tensors, self._operands, strict=False):
            tensor.copy_(operand[frames].view_as(tensor))
        self.inputs, self.step, self.B, self.C, self.drive, self.decay = tensors
        self.states = self._all_states[: count + 1]
        torch.mul(self.inputs, self.step, out=self.drive)
        torch.mul(self.step, self._rate, out=self.decay).exp2_()
        states, decays = self.states.unbind(0), self.decay.unbind(0)
        states[0].copy_(state)
        torch.mul(self.drive, self.B, out=self.states[1:])
        for frame in range(count):
            states[frame + 1].addcmul_(decays[frame], states[frame])
        return count


def plan_blocks(inputs: Tensor, A: Tensor) -> tuple[int, int]:
    """How many sequences, in balanced spans, and how many frames to take at once."""
    batch, num_frames = max(inputs.shape[0], 1), max(inputs.shape[1], 1)
    device = inputs.device.type
    # Fewer than 16 sequences would leave too little contiguous memory to each product.
    rows = max(16, _STATES_IN_FRAME.get(device, 2**22) // A.numel())
    rows = math.ceil(batch / math.ceil(batch / rows))
    frames = max(1, _STATES_IN_BLOCK.get(device, 2**25) // (rows * A.numel()))
    return rows, min(frames, num_frames)


def spans(length: int, at_once: int) -> list[slice]:
    return [slice(start, min(start + at_once, length)) for start in range(0, length, at_once)]


def batch_last(tensor: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "frame dim batch"]:
    return tensor.permute(1, 2, 0).contiguous()
