"""The selective scan compiled for this machine: built at first use where there is a C++ compiler, never required.

Only a compiled loop keeps the states in registers and the first cache; operations on tensors carry each of them
through memory several times. Not by torch.utils.cpp_extension, which needs ninja and the headers of Python and
PyTorch: this file needs none and takes a second. The library lies below the user's cache folder under the hash
of its source, its compiler and the processor. `UNBRAID_COMPILED_SCAN=0` in the environment switches it off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from unbraid.axes import Float, Tensor
from unbraid.files.cache import cache_folder

_SOURCE = Path(__file__).with_name("selective_scan.cpp")
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
_SWITCH = "UNBRAID_COMPILED_SCAN"
_SPAN = 32
"""Frames between two states that are kept for the backward pass; what lies between them fits the second cache."""
_SECONDS_TO_BUILD = 120


@cache
def compiled_scan() -> ctypes.CDLL | None:
    """The library, or None where it is switched off, or cannot be built or loaded."""
    return _load()[0]


def describe_compiled_scan() -> str:
    """Which form of the scan runs on this machine's CPU, and why."""
    library, reason = _load()
    return reason if library is None else f"compiled, {reason}"


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(_SWITCH, "1") == "0":
        return None, f"operations on tensors ({_SWITCH}=0)"
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or sys.platform == "win32":
        return None, "operations on tensors (there is no C++ compiler)"
    try:
        path = build(compiler, cache_folder() / "kernels")
        return ctypes.CDLL(str(path)), f"{path}"
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return None, f"operations on tensors (the compiled form fails: {' '.join(str(error).split())[:120]})"


def build(compiler: str, folder: Path) -> Path:
    """The library below `folder`, compiled where it is not there; two processes do not build it at once."""
    from filelock import FileLock

    identity = [_SOURCE.read_text(encoding="utf-8"), compiler, *_FLAGS, platform.machine(), _processor()]
    path = folder / f"selective_scan-{hashlib.sha256(' '.join(identity).encode()).hexdigest()[:24]}.so"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{path}.lock", timeout=_SECONDS_TO_BUILD):
        if not path.is_file():
            made = path.with_suffix(f".{os.getpid()}.part")
            command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(made)]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS_TO_BUILD)
                made.replace(path)
            finally:
                made.unlink(missing_ok=True)
    return path


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    except OSError:
        return platform.processor()


def takes(tensors: list[Tensor]) -> bool:
    """Whether the library is there and these operands are for it."""
    kind = tensors[0].dtype
    if kind not in (torch.float32, torch.float64) or any(
        tensor.device.type != "cpu" or tensor.dtype != kind for tensor in tensors
    ):
        return False
    return compiled_scan() is not None


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
    results = [outputs, carried if keep else None]
    _call("forward", outputs.dtype, [*operands, *results], batch, frames, dim, states)
    return outputs, carried


def run_backward(
    inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, carried: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the six operands."""
    operands, grad = _operands(inputs, step, A, B, C, D), grad.contiguous()
    (batch, frames, dim), states = inputs.shape, A.shape[1]
    of_inputs, of_step, of_B, of_C = (torch.empty_like(operands[index]) for index in (0, 1, 3, 4))
    of_A = grad.new_empty(batch, states, dim)
    pointers = [*operands, carried, grad, of_inputs, of_step, of_A, of_B, of_C]
    _call("backward", grad.dtype, pointers, batch, frames, dim, states)
    return of_inputs, of_step, of_A.sum(0).t(), of_B, of_C, (grad * inputs).sum((0, 1))


def _operands(inputs: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in (inputs, step, A.t(), B, C, D)]


def _call(name: str, dtype: torch.dtype, tensors: list[Tensor | None] | list[Tensor], *sizes: int) -> None:
    library = compiled_scan()
    assert library is not None
    function = getattr(library, f"scan_{name}_{str(dtype).removeprefix('torch.')}")
    pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    numbers = [ctypes.c_int64(size) for size in (*sizes, _SPAN)]
    function(*pointers, *numbers, ctypes.c_int(torch.get_num_threads()))
