"""What a run resumes from, looked at before anything is built on it: a damaged or foreign file is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from unbraid.errors import ConfigError, DataError
from unbraid.files.json_text import JsonError, of_kind, read_json
from unbraid.files.names import printable
from unbraid.weights.tensors import load_pytorch

SETTINGS = "config.json"

_PARTS = {"state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict, "global_step": int}
"""What a checkpoint of ours holds at least."""


def check_checkpoint(path: Path, model: nn.Module) -> None:
    """Raises DataError where a checkpoint is damaged or not of this trainer, and ConfigError where of another model.

    It is read weights-only, so that it cannot run a program. One that processes have shared out is a folder, which
    Lightning checks itself.
    """
    if path.is_dir():
        return
    try:
        content = load_pytorch(path, mmap=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever pickle, zip and PyTorch say of files that they did not write
        raise damaged(path) from error
    if not isinstance(content, dict) or any(not isinstance(content.get(key), kind) for key, kind in _PARTS.items()):
        raise damaged(path)
    there, wanted = content["state_dict"], model.state_dict()
    names = sorted(set(there) ^ set(wanted), key=str)
    names += [name for name in wanted if name in there and _shape(there[name]) != _shape(wanted[name])]
    if names:
        raise ConfigError(
            f"is of a run with another model ('{printable(str(names[0]))}' differs)",
            subject=f"'{printable(path)}'",
            remedy=f"continue with the settings in its {SETTINGS}, or begin a run in another folder",
        )


def damaged(path: Path) -> DataError:
    return DataError(
        "is damaged, or no checkpoint of `unbraid train`",
        subject=f"'{printable(path)}'",
        remedy="copy it again, or begin a run in another folder, with `init` from this one's best.safetensors",
    )


def read_settings(out: Path) -> dict[str, Any] | None:
    """The settings with which a run was last started; None where they are not there."""
    path = out / SETTINGS
    try:
        return of_kind(read_json(path), dict, SETTINGS)
    except FileNotFoundError:
        return None
    except (OSError, JsonError) as error:
        raise DataError(
            f"cannot be read ({error})", subject=f"'{printable(path)}'", remedy="remove it, and resume again"
        ) from error


def _shape(value: object) -> object:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None
