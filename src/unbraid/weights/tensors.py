"""Tensors of files from elsewhere, read so that no file can run a program."""

from __future__ import annotations

import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unbraid.errors import WeightsError
from unbraid.files.names import printable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import safetensors
else:
    safetensors = LazyModule("safetensors")

Tensors = dict[str, torch.Tensor]

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError)
"""What safetensors, beside an error of its own, and PyTorch raise over damaged headers and types of newer versions."""

_WRAPPERS = ("state_dict", "model_state_dict", "state", "model", "generator")
"""Under which names other projects keep the weights among other things."""


def read_tensors(path: Path) -> Tensors:
    """The weights in a safetensors or PyTorch file.

    PyTorch files are read weights-only: one that holds anything but tensors, numbers and words is refused.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}", remedy="check the name")
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        return read_safetensors(path)[0]
    try:
        with warnings.catch_warnings():
            # That a file has a newer form of pickle is nothing that a user could mend.
            warnings.simplefilter("ignore", UserWarning)
            content = load_pytorch(path)
    except Exception as error:
        if "Weights only load failed" in str(error) or "weights_only" in str(error):
            raise WeightsError(
                "holds more than weights, and reading that would run whatever program it names",
                subject=f"{path.name}",
                remedy="take the weights out of it where you trust it, and save them as safetensors",
            ) from error
        reason = " ".join(str(error).split())[:150]
        raise WeightsError(f"is neither a safetensors nor a PyTorch file: {reason}", subject=f"{path.name}") from error
    return _state_dict(content, path.name)


def load_pytorch(path: Path, *, mmap: bool = False) -> object:
    """What a PyTorch file holds, read weights-only; whatever PyTorch raises goes through.

    Raises ValueError for archives that PyTorch would unpack: a zip whose entries are compressed, which it never writes
    and which may stand for a thousand times as much memory, and a tar of its first versions, whose entries it would
    write to the disk, links and pipes among them.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are compressed, as PyTorch never writes them")
    elif _is_tar(path):
        raise ValueError("it is a tar archive")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except (tarfile.TarError, EOFError, ValueError):
        return False
    return True


def read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and what the header says beside them."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (safetensors.SafetensorError, *_UNREADABLE) as error:
        raise _no_weights(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """What the header says beside the tensors, which are not read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, *_UNREADABLE) as error:
        raise _no_weights(path, error) from error


def _no_weights(path: Path, error: Exception) -> WeightsError:
    """Tells a damaged file of weights, which has a header or began to have one, from a file of anything else."""
    subject, another = printable(path), "name a file of weights, or a model (unbraid models list)"
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError:
        return WeightsError(f"cannot be read: {error}", subject=subject)
    if not head:
        return WeightsError("is empty (0 bytes)", subject=subject, remedy="copy or download it again")
    if head[8:] != b"{":
        return WeightsError("is not a safetensors file, which holds weights", subject=subject, remedy=another)
    return WeightsError(f"is a damaged safetensors file: {error}", subject=subject, remedy="copy or download it again")


def _state_dict(content: object, name: str) -> Tensors:
    for wrapper in ("", *_WRAPPERS):
        inner = content.get(wrapper) if wrapper and isinstance(content, Mapping) else content
        if isinstance(inner, Mapping) and inner and all(isinstance(value, torch.Tensor) for value in inner.values()):
            return _as_stored({str(key): value for key, value in inner.items()}, name)
    if isinstance(content, Mapping):
        nested = {
            f"{outer}.{key}": value
            for outer, inner in content.items()
            if isinstance(inner, Mapping)
            for key, value in inner.items()
            if isinstance(value, torch.Tensor)
        }
        if nested:
            return _as_stored(nested, name)
    raise WeightsError("holds no weights by name", subject=name)


def _as_stored(tensors: Tensors, name: str) -> Tensors:
    """Refuses tensors that repeat what is stored: a number may stand for more of them than any memory holds."""
    for key, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(f"holds less than its '{printable(key)}' claims", subject=name)
    return tensors


def average(checkpoints: list[Tensors]) -> Tensors:
    """The mean of the weights of several checkpoints of one run; what is no fraction is taken from the last."""
    first = checkpoints[0]
    if any(set(other) != set(first) for other in checkpoints):
        raise WeightsError("the checkpoints are not of one model: their weights have different names")
    return {
        name: torch.stack([tensors[name].double() for tensors in checkpoints]).mean(dim=0).to(first[name].dtype)
        if first[name].is_floating_point()
        else checkpoints[-1][name]
        for name in first
    }
