"""Optimisers and their groups of parameters: state-space systems are handled with care, matrices by Muon if asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.mamba import SelectiveSystem
from unbraid.layers.state_space import StateSpace

_MOMENTUM = 0.95
_ADAM_RMS = 0.2
"""Root mean square of a step of Adam at a learning rate of one, about."""


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam, AdamW, or Muon for the matrices and Adam for the rest."""

    name: Literal["adam", "adamw", "muon"] = "adam"

    learning_rate: float = 1e-3

    matrix_learning_rate: float = 3e-3
    """With Muon, the rate of the matrices; the size of a step is that of Adam's at the same rate."""

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
        for name in ("learning_rate", "matrix_learning_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is positive, not {getattr(self, name)}")
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise ConfigError(f"gradient_clip is positive or none, not {self.gradient_clip}")


class Muon(torch.optim.Adam):
    """Muon for the groups marked `matrix`, Adam for all others, as one optimiser with one state.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: a matrix steps by the orthogonal
    matrix that is nearest to its averaged gradient, so that all directions learn at the same pace. The step is scaled
    as in J. Liu et al., "Muon is Scalable for LLM Training", 2025, to the size of Adam's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            # It clears and clips the gradients of all groups, so all have to be there.
            with torch.enable_grad():
                loss = closure()
        every = self.param_groups
        self.param_groups = [group for group in every if not group["matrix"]]
        try:
            super().step()
        finally:
            self.param_groups = every
        for group in every:
            if group["matrix"]:
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        self._step_matrix(matrix, matrix.grad, group)
        return loss

    def _step_matrix(self, matrix: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if not state:
            # The step is not needed, but Adam looks for one in every state that it reads back.
            state.update(momentum=torch.zeros_like(matrix), step=torch.zeros(()))
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        ahead = gradient.lerp(momentum, _MOMENTUM)  # Nesterov's
        rate = group["lr"]
        matrix.mul_(1 - rate * group["weight_decay"])
        matrix.add_(orthogonalise(ahead), alpha=-rate * _ADAM_RMS * math.sqrt(max(matrix.shape)))


def orthogonalise(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Nearly the nearest matrix whose singular values are one: five Newton-Schulz steps leave them at 0.7 to 1.2.

    The coefficients are Jordan's, chosen for speed over exactness; bfloat16 is all that they need.
    """
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).bfloat16()
    wide = wide / wide.norm().clamp_min(1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.775 * gram) @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).to(matrix.dtype)


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}[config.name]
    groups = parameter_groups(model, config)
    return kind(groups, lr=config.learning_rate, betas=config.betas, amsgrad=config.amsgrad)


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, Any]]:
    """All parameters that learn; state-space systems apart, with a bounded learning rate and no weight decay, and with
    Muon the matrices apart as well."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise ConfigError("nothing is left to learn: freeze fewer parts")
    careful = state_space_parameters(model) if config.state_space_learning_rate is not None else set()
    matrices = matrix_parameters(model) - careful if config.name == "muon" else set()
    rest = [parameter for parameter in learning if id(parameter) not in careful | matrices]
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": config.weight_decay}] if rest else []
    if apart := [parameter for parameter in learning if id(parameter) in careful]:
        assert config.state_space_learning_rate is not None
        rate = min(config.learning_rate, config.state_space_learning_rate)
        groups.append({"params": apart, "weight_decay": 0.0, "lr": rate})
    if config.name == "muon":
        for group in groups:
            group["matrix"] = False
        if flat := [parameter for parameter in learning if id(parameter) in matrices]:
            rate = config.matrix_learning_rate
            groups.append({"params": flat, "weight_decay": config.weight_decay, "lr": rate, "matrix": True})
    return groups


def adopt_settings(stored: list[dict], rates: dict, groups: list[dict[str, Any]], config: OptimiserConfig) -> None:
    """Changes what a checkpoint says of an optimiser to the present settings; the same settings leave it as it is."""
    for index, (old, new) in enumerate(zip(stored, groups, strict=True)):
        rate = new.get("lr", config.learning_rate)
        old["initial_lr"] = rates["base_lrs"][index] = rate
        old.update(weight_decay=new["weight_decay"], betas=config.betas, decoupled_weight_decay=config.name == "adamw")


def matrix_parameters(model: nn.Module) -> set[int]:
    """Identities of the weights of linear layers."""
    return {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}


def state_space_parameters(model: nn.Module) -> set[int]:
    """Identities of the parameters that describe dynamics: the systems of S4, S4D and Mamba layers."""
    systems = [module for module in model.modules() if isinstance(module, StateSpace | SelectiveSystem)]
    return {id(parameter) for system in systems for parameter in system.parameters()}
