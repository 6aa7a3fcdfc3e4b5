"""Weights of the SFC authors' release and of MERL's TF-Locoformer into our `SFCCore`.

github b-sigpro/spectral-feature-compression and merlresearch/tf-locoformer. Their tensors have speaking names; what
differs is the order of rows and columns, and that transposed convolutions are stored as such.
"""

from __future__ import annotations

import re

import torch
from einops import rearrange

from unbraid.errors import WeightsError
from unbraid.models.sfc.model import SFCConfig
from unbraid.weights.adapters.mamba_ssm import mamba_state_dict

_RENAMES = [
    (r"^(?:model\.)?blocks\.", "separator.blocks."),
    (r"^model\.", ""),
    (r"\.frame_path\.", ".time."),
    (r"\.freq_path\.", ".frequency."),
    (r"\.attn\.qkv\.", ".sequence.query_key_value."),
    (r"\.attn\.aggregate_heads\.0\.", ".sequence.out."),
    (r"\.attn_norm\.gamma$", ".norm_sequence.weight"),
    # The authors build the list backwards: the feed-forward layer before attention is number 1.
    (r"\.ffn\.1\.", ".before."),
    (r"\.ffn\.0\.", ".after."),
    (r"\.ffn_norm\.1\.gamma$", ".norm_before.weight"),
    (r"\.ffn_norm\.0\.gamma$", ".norm_after.weight"),
    (r"\.(before|after)\.conv1d\.", r".\1.widen."),
    (r"\.(before|after)\.deconv1d\.", r".\1.narrow."),
    (r"^encoder\.input_conv\.0\.", "encoder.spread."),
    (r"^encoder\.input_conv\.2\.", "encoder.spread_norm."),
    (r"^encoder\.output_conv\.0\.", "encoder.gather."),
    (r"^encoder\.output_conv\.2\.", "encoder.gather_norm."),
    (r"^encoder\.(query|freq_weights)$", "encoder.queries.weight"),
    (r"^decoder\.query$", "decoder.queries.weight"),
    (r"^decoder\.query_mlp\.0\.", "decoder.queries.norm."),
    (r"^decoder\.query_mlp\.1\.", "decoder.queries.feedforward."),
    (r"^decoder\.input_conv\.", "decoder.spread."),
    (r"^decoder\.output_conv\.", "decoder.gather."),
    (r"\.block\.mixer\.q_proj\.", ".block.attention.query."),
    (r"\.block\.mixer\.kv_proj\.", ".block.attention.key_value."),
    (r"\.block\.mixer\.aggregate_heads\.0\.", ".block.attention.out."),
    (r"\.norm_attn_q\.", ".query_norm."),
    (r"\.norm_attn_kv\.", ".token_norm."),
    (r"\.norm_ffn\.", ".feedforward_norm."),
    (r"\.feed_forward\.", ".feedforward."),
    (r"\.linear1\.", ".widen."),
    (r"\.linear2\.", ".narrow."),
    (r"\.forward_block\.", ".reading.upward."),
    (r"\.backward_block\.", ".reading.downward."),
    (r"^encoder\.norm_fc_modules\.(\d+)\.norm\.", r"encoder.bands.\1.0."),
    (r"^encoder\.norm_fc_modules\.(\d+)\.fc\.", r"encoder.bands.\1.1."),
    (r"^decoder\.norm_mlp\.(\d+)\.norm\.", r"decoder.bands.\1.0."),
    (r"^decoder\.norm_mlp\.(\d+)\.hidden\.0\.", r"decoder.bands.\1.1."),
    (r"^decoder\.norm_mlp\.(\d+)\.output\.0\.", r"decoder.bands.\1.3."),
    (r"^conv\.0\.", "encoder.spread."),
    (r"^conv\.1\.", "encoder.norm."),
    (r"^deconv\.", "decoder.gather."),
]

_DERIVED = re.compile(r"\.attention_mask$|^(model\.)?decoder\.freq_weights/\d+$|\.rope\.freqs$|window$")
"""Constants that follow from the settings."""


def convert(state_dict: dict[str, torch.Tensor], config: SFCConfig) -> dict[str, torch.Tensor]:
    """Names and shapes of our `SFCCore` with this config from those of the authors' model."""
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        if _DERIVED.search(name):
            continue
        renamed = rename(name)
        if ".pos_bias." in renamed:
            converted |= _positional_bias(renamed, tensor, config)
        elif ".mixer." in renamed:
            reading, _, inner = renamed.partition(".mixer.")
            converted |= {f"{reading}.mamba.{key}": value for key, value in mamba_state_dict({inner: tensor}).items()}
        else:
            converted[renamed] = _reordered(renamed, tensor, config)
    for half in ("encoder", "decoder"):
        # The authors multiply the bias with a slope of each head, which is one where the bias itself is learnt.
        if (slope := converted.pop(f"{half}.bias.factor", None)) is not None:
            converted[f"{half}.bias.matrix"] = converted[f"{half}.bias.matrix"] * slope[:, None, None]
    return converted


def rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _reordered(name: str, tensor: torch.Tensor, config: SFCConfig) -> torch.Tensor:
    if re.search(r"\.blocks\..*\.narrow\.weight$", name):
        return tensor.transpose(0, 1).flip(2)
    if re.fullmatch(r"decoder\.(spread|gather)\.weight", name):
        tensor = tensor.transpose(0, 1).flip(2, 3)
    if name.startswith("decoder.gather.") and config.estimate == "spectrum":
        return rearrange(tensor, "(source part) ... -> (part source) ...", part=2)
    if name.endswith(".attention.key_value.weight"):
        heads = config.compression.num_heads  # type: ignore[union-attr]
        return rearrange(tensor, "(head which dim) inner -> (which head dim) inner", head=heads, which=2)
    if re.fullmatch(r"encoder\.bands\.\d+\.(0\.weight|0\.bias|1\.weight)", name):
        sizes = {"channel": config.num_channels, "part": 2}
        return rearrange(tensor, "... (channel part freq) -> ... (freq part channel)", **sizes)
    if re.fullmatch(r"decoder\.bands\.\d+\.3\.(weight|bias)", name):
        sizes = {"half": 2, "part": 2, "output": config.num_channels * len(config.sources)}
        return rearrange(tensor, "(half output freq part) ... -> (half freq part output) ...", **sizes)
    return tensor


def _positional_bias(name: str, tensor: torch.Tensor, config: SFCConfig) -> dict[str, torch.Tensor]:
    """`pos_bias` (1, head, query, token) or `slope` (head, 1, 1), whichever of them our setting learns."""
    half, kind = name.split(".")[0], config.compression.positional_bias  # type: ignore[union-attr]
    if name.endswith(".slope"):
        return (
            {f"{half}.bias.{'slope' if kind == 'slope' else 'factor'}": tensor.flatten()}
            if kind in ("slope", "matrix")
            else {}
        )
    if kind != "matrix":
        return {}
    if tensor.dim() != 4 or tensor.shape[0] != 1:
        raise WeightsError(
            f"has the shape {tuple(tensor.shape)}; a bias (1, head, query, token) was expected", subject=name
        )
    bias = tensor.squeeze(0)
    return {f"{half}.bias.matrix": bias.transpose(-2, -1) if half == "decoder" else bias}


def convert_model(state_dict: dict[str, torch.Tensor], config: SFCConfig) -> dict[str, torch.Tensor]:
    """Names and shapes of our `SFC`, which is a core behind an STFT without weights."""
    return {f"core.{name}": tensor for name, tensor in convert(state_dict, config).items()}
