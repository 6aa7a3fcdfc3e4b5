"""Where models run, whether they fit there, and how they give the same bytes each time."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import torch
from torch import nn

from unbraid.errors import DeviceError

_E = TypeVar("_E")


def choose_device(name: str = "auto") -> torch.device:
    """The named device, or with "auto" the best one there is: CUDA, Apple's MPS, CPU. Never falls back silently."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps_is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"'{name}' is not a device: choose auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no {name} here ({torch.cuda.device_count()} CUDA devices are visible to torch "
            f"{torch.__version__})",
            remedy='run  unbraid doctor, or pass `device="cpu"`',
        )
    if device.type == "mps" and not mps_is_available():
        raise DeviceError("there is no mps device here", remedy='pass `device="cpu"`')
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"'{name}' is not supported: choose auto, cpu, cuda, cuda:N or mps")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of products by its name; "auto" is bfloat16 on GPUs of NVIDIA that have it, and float32 elsewhere."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_it else torch.float32


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, on a GPU or elsewhere, was the trouble; on a CPU torch says so by a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def is_on(module: nn.Module, device: torch.device) -> bool:
    """Whether all weights and buffers of a module are on a device; "cuda" is the current one of several."""
    place = torch.empty(0, device=device).device
    return all(tensor.device == place for tensor in (*module.parameters(), *module.buffers()))


def mps_is_available() -> bool:
    return torch.backends.mps.is_available()


def deterministic_steps(steps: Generator[_E, None, None]) -> Generator[_E, None, None]:
    """The same steps, each taken by one thread and with torch's deterministic algorithms.

    Between two steps the process is as it was, so that whoever asks for them computes as ever.
    """
    with closing(steps):
        while True:
            try:
                with one_way():
                    step = next(steps)
            except StopIteration:
                return
            yield step


@contextmanager
def one_way() -> Iterator[None]:
    """What is computed in this block, in this thread, comes out the same each time."""
    # cuBLAS gives the same sums each time only with a workspace of fixed size, and reads it from here.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _algorithms.enter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _algorithms.leave()


class _Algorithms:
    """Those of the whole process are deterministic while anybody wants them so."""

    def __init__(self) -> None:
        self._lock, self._count, self._before = threading.Lock(), 0, (0, False)

    def enter(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
                torch.use_deterministic_algorithms(True)
                # Which of several algorithms is fastest is another one on another day.
                torch.backends.cudnn.benchmark = False

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                mode, torch.backends.cudnn.benchmark = self._before
                torch.set_deterministic_debug_mode(mode)


_algorithms = _Algorithms()


def lacks_determinism(error: BaseException) -> bool:
    """Whether torch refused an operation because it has no deterministic form on this device."""
    return isinstance(error, RuntimeError) and "deterministic" in str(error)
