"""Weights of the authors' S4M code (github JusperLee/S4M) into our S4M.

Only state dicts whose S4 layer has never run a forward pass hold the plain C that we need: the published code
overwrites C in its first forward with one that depends on the length of that input (its buffer `kernel.L` is then
greater than zero); such files are refused.
"""

from __future__ import annotations

import re

import torch

from unbraid.errors import WeightsError

_RENAMES = [
    (r"^ln\.", "norm."),
    (r"^mask_net\.0\.", "mask_activation."),
    (r"^mask_net\.1\.", "mask."),
    (r"^sm\.concat_block\.0\.", "rounds.reinject."),
    (r"^sm\.concat_block\.1\.", "rounds.activation."),
    (r"^sm\.unet\.", "rounds.block."),
    (r"\.proj_1x1\.conv\.", ".expand."),
    (r"\.proj_1x1\.norm\.", ".expand_norm."),
    (r"\.proj_1x1\.act\.", ".expand_activation."),
    (r"\.spp_dw\.", ".levels."),
    (r"\.loc_glo_fus\.", ".lateral."),
    (r"\.last_layer\.", ".merges."),
    (r"\.local_embedding\.", ".local."),
    (r"\.global_act\.", ".gate."),
    (r"\.global_embedding\.", ".shift."),
    (r"\.res_conv\.", ".contract."),
    (r"\.s4\.", ".state_space."),
    (r"\.ff\.layer\.ff\.0\.0\.", ".feedforward.widen."),
    (r"\.ff\.layer\.ff\.2\.", ".feedforward.narrow."),
    (r"\.ff\.norm\.", ".feedforward.norm."),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
]

_LAYER_RENAMES = {
    "D": "skip",
    "kernel.kernel.B": "system.drive_parts",
    "kernel.kernel.C": "system.readout_parts",
    "kernel.kernel.P": "system.low_rank_parts",
    "kernel.kernel.inv_w_real": "system.log_decay",
    "kernel.kernel.w_imag": "system.frequency",
    "kernel.kernel.log_dt": "system.log_step",
    "output_linear.0.weight": "mix.weight",
    "output_linear.0.bias": "mix.bias",
}


def convert(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of our `S4M` from those of the authors' model."""
    converted: dict[str, torch.Tensor] = {}
    layer: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        if name.startswith("sm.unet.s4.layer."):
            layer[name.removeprefix("sm.unet.s4.layer.")] = tensor
            continue
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        is_pointwise = re.search(r"(bottleneck|mask|expand|contract|widen|narrow)\.weight$", name)
        is_depthwise = re.search(r"(conv|reinject)\.weight$", name)
        converted[name] = tensor.squeeze(-1) if is_pointwise else tensor.squeeze(1) if is_depthwise else tensor
    converted |= {f"rounds.block.state_space.layer.{name}": tensor for name, tensor in convert_layer(layer).items()}
    return converted


def convert_layer(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of our `StateSpaceLayer` from those of the authors' S4 layer."""
    if int(state_dict.get("kernel.kernel.L", torch.tensor(0))) != 0:
        raise WeightsError(
            "this S4M file has been through a forward pass, which replaced its C by one bound to a length",
            remedy="save the state dict before the first forward and convert that",
        )
    converted = {_LAYER_RENAMES[name]: tensor for name, tensor in state_dict.items() if name in _LAYER_RENAMES}
    converted["skip"] = converted["skip"].squeeze(0)
    for name in ("system.drive_parts", "system.low_rank_parts"):
        converted[name] = converted[name].squeeze(0)
    converted["mix.weight"] = converted["mix.weight"].squeeze(-1)
    return converted
