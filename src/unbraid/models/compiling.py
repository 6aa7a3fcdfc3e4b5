"""torch.compile on what a model wants compiled."""

from __future__ import annotations

import torch

from unbraid.models.contract import SeparationModel


def compile_parts(model: SeparationModel) -> None:
    """Marks what the model wants compiled; the compiler runs at its first call."""
    parts = model.compiled_parts()
    for part in parts:
        part.compile()
    if model in parts:
        model.intermediate_estimates = torch.compile(model.intermediate_estimates)
