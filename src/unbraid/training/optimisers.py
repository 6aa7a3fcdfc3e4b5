"""Optimisers and their groups of parameters: state-space systems are handled with care."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from unbraid.errors import ConfigError
from unbraid.layers.mamba import SelectiveSystem
from unbraid.layers.state_space import StateSpace


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam or AdamW."""

    name: Literal["adam", "adamw"] = "adam"

    learning_rate: float = 1e-3

    betas: tuple[float, float] = (0.9, 0.999)

    weight_decay: float = 0.0

    amsgrad: bool = False
    """Divide by the largest second moment so far instead of the present one, as ResUNetDecouple+ does."""

    state_space_learning_rate: float | None = 1e-3
    """Upper bound of the rate for A, B, C, D and dt of state-space layers (S4, Mamba), which then get no weight decay;
    None treats them like all others, as SFC does."""

    gradient_clip: float | None = 5.0
    """Largest L2 norm of the gradient; None leaves it as it is."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is positive, not {self.learning_rate}")
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise ConfigError(f"gradient_clip is positive or none, not {self.gradient_clip}")


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    groups = parameter_groups(model, config)
    return kind(groups, lr=config.learning_rate, betas=config.betas, amsgrad=config.amsgrad)


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, object]]:
    """All parameters that learn; state-space systems apart, with a bounded learning rate and no weight decay."""
    careful = state_space_parameters(model) if config.state_space_learning_rate is not None else set()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rest = [parameter for parameter in learning if id(parameter) not in careful]
    apart = [parameter for parameter in learning if id(parameter) in careful]
    if not learning:
        raise ConfigError("nothing is left to learn: freeze fewer parts")
    groups: list[dict[str, object]] = [{"params": rest, "weight_decay": config.weight_decay}] if rest else []
    if apart:
        assert config.state_space_learning_rate is not None
        rate = min(config.learning_rate, config.state_space_learning_rate)
        groups.append({"params": apart, "weight_decay": 0.0, "lr": rate})
    return groups


def adopt_settings(stored: list[dict], rates: dict, groups: list[dict[str, object]], config: OptimiserConfig) -> None:
    """Changes what a checkpoint says of an optimiser to the present settings; the same settings leave it as it is."""
    for index, (old, new) in enumerate(zip(stored, groups, strict=True)):
        rate = new.get("lr", config.learning_rate)
        old["initial_lr"] = rates["base_lrs"][index] = rate
        old.update(weight_decay=new["weight_decay"], betas=config.betas, decoupled_weight_decay=config.name == "adamw")


def state_space_parameters(model: nn.Module) -> set[int]:
    """Identities of the parameters that describe dynamics: the systems of S4, S4D and Mamba layers."""
    systems = [module for module in model.modules() if isinstance(module, StateSpace | SelectiveSystem)]
    return {id(parameter) for system in systems for parameter in system.parameters()}
