"""Where models run."""

from __future__ import annotations

import torch

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


def mps_is_available() -> bool:
    return torch.backends.mps.is_available()
