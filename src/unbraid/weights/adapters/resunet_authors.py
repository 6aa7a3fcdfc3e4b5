"""Weights of the authors' ResUNetDecouple+ (github bytedance/music_source_separation, ResUNet143) into our ResUNet."""

from __future__ import annotations

import re

import torch
from einops import rearrange

from unbraid.errors import WeightsError
from unbraid.models.resunet.model import ResUNetConfig

_RENAMES = [
    (r"^bn0\.", "input_norm."),
    (r"^after_conv_block1\.", "last."),
    (r"^after_conv2\.", "head."),
    (r"^encoder_block(\d)\.", lambda match: f"encoders.{int(match[1]) - 1}."),
    (r"^conv_block7([a-d])\.", lambda match: f"centre.{'abcd'.index(match[1])}."),
    (r"^decoder_block(\d)\.bn1\.", lambda match: f"decoders.{int(match[1]) - 1}.norm."),
    (r"^decoder_block(\d)\.conv1\.", lambda match: f"decoders.{int(match[1]) - 1}.stretch."),
    # A decoder counts its units from two on, because its first convolution stretches.
    (r"^decoder_block(\d)\.conv_block(\d)\.", lambda match: f"decoders.{int(match[1]) - 1}.stage.{int(match[2]) - 2}."),
    (r"\.conv_block(\d)\.", lambda match: f".{int(match[1]) - 1}."),
    (r"\.bn1\.", ".norm_in."),
    (r"\.abn2\.", ".norm_out."),
    (r"\.conv1\.", ".conv_in."),
    (r"\.conv2\.", ".conv_out."),
]
_DERIVED = re.compile(r"^i?stft\.|num_batches_tracked$")
_WRAPPED = re.compile(r"^(model\.|module\.)+")
_LEAST_GAIN = 1e-5
"""InPlace-ABN multiplies by |weight| + eps, so that its activation can be undone."""


def convert_model(state_dict: dict[str, torch.Tensor], config: ResUNetConfig) -> dict[str, torch.Tensor]:
    """Names and shapes of our `ResUNet` with this config from those of the authors' model."""
    if config.level != "as-given":
        raise WeightsError("these weights know how loud recordings are", remedy='add `level="as-given"`')
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        name = _WRAPPED.sub("", name)
        if not _DERIVED.search(name):
            converted[f"core.{rename(name)}"] = _reshaped(name, tensor)
    return converted


def rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _reshaped(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if name.endswith(".abn2.weight"):
        return tensor.abs() + _LEAST_GAIN
    if re.search(r"^decoder_block\d\.conv1\.weight$", name):
        return rearrange(tensor, "dim_in dim_out frame_step freq_step -> (frame_step freq_step dim_out) dim_in")
    if name.endswith("shortcut.weight") or name == "after_conv2.weight":
        return tensor.flatten(1)
    return tensor
