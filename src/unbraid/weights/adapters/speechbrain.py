"""Weights of SpeechBrain's SepFormer (github speechbrain/speechbrain, models speechbrain/sepformer-*) into ours.

SpeechBrain keeps three files, encoder.ckpt, masknet.ckpt and decoder.ckpt. Their tensors are taken together under the
prefixes "encoder.", "masknet." and "decoder.".
"""

from __future__ import annotations

import re

import torch

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
