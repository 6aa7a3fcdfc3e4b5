"""Weights of SpeechBrain's SepFormer (github speechbrain/speechbrain, models speechbrain/sepformer-*) into ours.

SpeechBrain keeps three files, encoder.ckpt, masknet.ckpt and decoder.ckpt. Their tensors are taken together under the
prefixes "encoder.", "masknet." and "decoder.".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from unbraid.errors import WeightsError
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.weights.settings import read_text
from unbraid.weights.tensors import Tensors, read_tensors

_RENAMES = [
    (r"^encoder\.conv1d\.", "encoder."),
    (r"^decoder\.", "heads.0.decoder."),
    (r"^masknet\.norm\.", "norm."),
    (r"^masknet\.conv1d\.", "bottleneck."),
    (r"^masknet\.prelu\.", "heads.0.activation."),
    (r"^masknet\.conv2d\.", "heads.0.split."),
    (r"^masknet\.output\.0\.", "heads.0.output.value."),
    (r"^masknet\.output_gate\.0\.", "heads.0.output.gate."),
    (r"^masknet\.end_conv1x1\.", "heads.0.output.out."),
    (r"^masknet\.dual_mdl\.", "blocks."),
    (r"\.intra_mdl\.mdl\.", ".within."),
    (r"\.inter_mdl\.mdl\.", ".across."),
    (r"\.intra_norm\.", ".within.plane_norm."),
    (r"\.inter_norm\.", ".across.plane_norm."),
    (r"\.intra_linear\.", ".within.linear."),
    (r"\.inter_linear\.", ".across.linear."),
    (r"\.norm1\.norm\.", ".norm_sequence."),
    (r"\.norm2\.norm\.", ".norm_feedforward."),
    (r"\.norm\.norm\.", ".norm."),
    (r"\.self_att\.att\.in_proj_", ".sequence.query_key_value."),
    (r"\.self_att\.att\.out_proj\.", ".sequence.out."),
    (r"\.pos_ffn\.ffn\.0\.", ".widen."),
    (r"\.pos_ffn\.ffn\.3\.", ".narrow."),
]


def convert(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of our `SepFormer` from those of SpeechBrain's."""
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        if name.endswith(".pos_enc.pe"):
            continue  # sines, which we compute
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if name == "encoder.weight":
            tensor = tensor.squeeze(1)
        elif name == "heads.0.decoder.weight":
            tensor = tensor.squeeze(1).T
        elif tensor.ndim > 2:
            tensor = tensor.flatten(1)  # convolutions of length one
        converted[name] = tensor.contiguous()
    return converted


def gather(root: Path, files: Sequence[str]) -> tuple[Tensors, str]:
    """The weights of the three files of a folder under their prefixes, and hyperparams.yaml as text.

    SpeechBrain executes that file; here it is text in which three numbers are looked for.
    """
    parts: Tensors = {}
    text = ""
    for file in files:
        if file.endswith(".yaml"):
            text = read_text(root / file)
        else:
            parts |= {f"{Path(file).stem}.{name}": tensor for name, tensor in read_tensors(root / file).items()}
    return parts, text


def guess_config(tensors: Tensors, hyperparams: str) -> SepFormerConfig:
    """Sizes from the shapes of the weights, and from the text of hyperparams.yaml what shapes do not tell."""
    try:
        filters, _, kernel = tensors["encoder.conv1d.weight"].shape
        dim = tensors["masknet.conv1d.weight"].shape[0]
        num_sources = tensors["masknet.conv2d.weight"].shape[0] // dim
        inner = tensors["masknet.dual_mdl.0.intra_mdl.mdl.layers.0.pos_ffn.ffn.0.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise WeightsError(f"these are not the weights of a SepFormer of SpeechBrain: {error} differs") from error
    blocks = 1 + max(int(match[1]) for name in tensors if (match := re.match(r"masknet\.dual_mdl\.(\d+)\.", name)))
    layers = 1 + max(
        int(match[1]) for name in tensors if (match := re.search(r"\.0\.intra_mdl\.mdl\.layers\.(\d+)", name))
    )
    speakers = tuple(f"speaker{number + 1}" for number in range(num_sources)) if num_sources > 1 else ("speech",)
    heads = _number(hyperparams, "nhead", 8)
    return SepFormerConfig(
        sample_rate=_number(hyperparams, "sample_rate", 8000),
        sources=speakers,
        exchangeable=num_sources > 1,
        dim=dim,
        num_filters=None if filters == dim else filters,
        kernel_samples=kernel,
        stride_samples=_number(hyperparams, "kernel_stride", kernel // 2),
        chunk_frames=_number(hyperparams, "K", 250),
        num_blocks=blocks,
        num_layers=layers,
        sequence=SelfAttentionConfig(num_heads=heads, inner_dim=dim, bias=True, dropout=0.0),
        feedforward_dim=inner,
    )


def _number(text: str, name: str, otherwise: int) -> int:
    """The first `name: 123` of a text that is never executed."""
    match = re.search(rf"^\s*{name}:\s*(\d+)\s*(#.*)?$", text, re.MULTILINE)
    return int(match[1]) if match else otherwise
