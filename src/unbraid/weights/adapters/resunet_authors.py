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


def is_theirs(tensors: dict[str, torch.Tensor]) -> bool:
    return any(_WRAPPED.sub("", name).startswith("encoder_block1.conv_block1.") for name in tensors)


def guess_config(tensors: dict[str, torch.Tensor], file_name: str) -> ResUNetConfig:
    """Sizes from the shapes of the weights; the name of the file tells what it estimates."""
    plain = {_WRAPPED.sub("", name): tensor for name, tensor in tensors.items()}
    if "subb" in file_name:
        raise WeightsError(
            "is the authors' sub-band network, which is another than the paper's",
            subject=f"{file_name}",
            remedy="take the file whose name begins with resunet143_ismir2021",
        )
    try:
        dims = [plain[f"encoder_block{number}.conv_block1.conv2.weight"].shape[0] for number in range(1, 6)]
        return ResUNetConfig(
            sources=("accompaniment" if "accompaniment" in file_name else "vocals",),
            num_channels=plain["encoder_block1.conv_block1.conv1.weight"].shape[1],
            channels=(dims[0], dims[1], dims[2], dims[3], dims[4]),
            n_fft=2 * (plain["bn0.weight"].shape[0] - 1),
            level="as-given",
        )
    except KeyError as error:
        raise WeightsError(
            f"is no ResUNetDecouple+ of its authors: {error} is missing", subject=f"{file_name}"
        ) from error
