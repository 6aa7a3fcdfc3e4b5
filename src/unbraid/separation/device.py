"""Where models run, and whether they fit there."""

from __future__ import annotations

import torch
from torch import nn

from unbraid.errors import DeviceError


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
