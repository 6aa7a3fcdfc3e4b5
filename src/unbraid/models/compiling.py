"""torch.compile on what a model wants compiled."""

from __future__ import annotations

import torch

from unbraid.models.contract import SeparationModel


def compile_parts(model: SeparationModel) -> None:
    """Marks what the model wants compiled; the compiler runs at its first call."""
    for part in model.compiled_parts():
        part.compile()
        if isinstance(part, SeparationModel):
            part.intermediate_estimates = torch.compile(part.intermediate_estimates)
