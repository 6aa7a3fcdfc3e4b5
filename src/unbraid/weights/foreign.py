"""Formats of other projects' weights by name; each is one file in `adapters/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unbraid.errors import UnknownNameError, WeightsError
from unbraid.models.catalog import ModelConfig, build_model
from unbraid.models.contract import SeparationModel
from unbraid.models.resunet.model import ResUNetConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.models.sfc.model import SFCConfig
from unbraid.weights.adapters import bs_locoformer, resunet_authors, s4m_authors, sfc_authors, speechbrain

Tensors = dict[str, torch.Tensor]

FORMATS: dict[str, tuple[type[ModelConfig], Callable[[Tensors, Any], Tensors]]] = {
    "resunet-authors": (ResUNetConfig, resunet_authors.convert_model),
    "s4m-authors": (S4MConfig, lambda tensors, config: s4m_authors.convert(tensors)),
    "sfc-authors": (SFCConfig, sfc_authors.convert_model),
    "bs-locoformer": (SFCConfig, bs_locoformer.convert_model),
    "speechbrain": (SepFormerConfig, lambda tensors, config: speechbrain.convert(tensors)),
}
"""Format -> config class of the models that it holds, and what turns its tensors into a state dict of ours."""


def formats_of(config: ModelConfig) -> list[str]:
    """The formats that hold models with such a config."""
    return [name for name, (config_class, _) in FORMATS.items() if type(config) is config_class]


def convert_weights(tensors: Tensors, source: str, config: ModelConfig) -> SeparationModel:
    """A model with the config and the foreign weights.

    Raises UnknownNameError for a format that is not known, or not for this kind of model, and WeightsError where the
    weights do not fit the config.
    """
    if source not in FORMATS:
        raise UnknownNameError(f"there is no format '{source}'; there are: {', '.join(FORMATS)}")
    if source not in formats_of(config):
        fitting = ", ".join(formats_of(config)) or "none"
        raise UnknownNameError(f"the format '{source}' is not of this kind of model; such formats: {fitting}")
    model = build_model(config)
    try:
        model.load_state_dict(FORMATS[source][1](tensors, config))
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        detail = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"the weights do not fit the model ({detail})", remedy="choose another `preset`, or change its settings"
        ) from error
    return model
