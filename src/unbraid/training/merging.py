"""From what trains to what separates: adapters are merged, and several sets of weights become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from unbraid.models.catalog import build_model, config_of
from unbraid.models.contract import SeparationModel
from unbraid.training.adapt import has_adapters, merged
from unbraid.training.sharding import is_sharded, whole_state
from unbraid.weights.store import load_model, save_model


def exportable(model: SeparationModel) -> SeparationModel | None:
    """The model itself, or a copy that is whole and in which adapters have become part of the weights.

    To be called by all processes; those after the first get None for a sharded model.
    """
    if is_sharded(model):
        state = whole_state(model)
        if not state:
            return None
        copy = build_model(config_of(model))
        copy.load_state_dict(state)
        return copy
    return merged(model) if has_adapters(model) else model


def average_models(paths: Sequence[Path], out: Path, *, name: str, facts: dict[str, object]) -> Path:
    """Writes the mean of the weights of several files of one architecture; whole numbers are taken from the first."""
    model = load_model(paths[0])
    total = {key: tensor.double() for key, tensor in model.state_dict().items()}
    for path in paths[1:]:
        for key, tensor in load_model(path).state_dict().items():
            total[key] += tensor.double()
    mean = {
        key: (total[key] / len(paths)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for key, tensor in model.state_dict().items()
    }
    with torch.no_grad():
        model.load_state_dict(mean)
    return save_model(model, out, name=name, facts=facts)
