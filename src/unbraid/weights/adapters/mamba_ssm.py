"""Weights of a Mamba-1 mixer of the published code (github state-spaces/mamba) into our `Mamba`."""

from __future__ import annotations

import torch

_RENAMES = {
    "in_proj.weight": "widen.weight",
    "conv1d.weight": "conv.weight",
    "conv1d.bias": "conv.bias",
    "x_proj.weight": "select.weight",
    "dt_proj.weight": "step.weight",
    "dt_proj.bias": "system.step_bias",
    "A_log": "system.log_rate",
    "D": "system.skip",
    "out_proj.weight": "narrow.weight",
}


def mamba_state_dict(mixer: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names and shapes of our `Mamba` from those of one mixer; other names of the mixer are an error of the caller."""
    return {_RENAMES[name]: tensor.squeeze(1) if name == "conv1d.weight" else tensor for name, tensor in mixer.items()}
