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
from unbraid.layers.convolution import FrameConv
from unbraid.layers.mamba import SelectiveSystem
from unbraid.layers.state_space import StateSpace
from unbraid.options import Dropout, NonNegativeFloat, PositiveFloat, check_options

_MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
"""Of Muon, as its authors have them."""


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam, AdamW, or Muon for the matrices and AdamW for the rest."""

    name: Literal["adam", "adamw", "muon"] = "adam"

    learning_rate: PositiveFloat = 1e-3

    matrix_learning_rate: PositiveFloat = 3e-3
    """With Muon, the rate of the matrices; the size of a step is that of Adam's at the same rate."""

    matrix_kernels: bool = False
    """With Muon, kernels of convolutions, unless depthwise, are matrices as well: a row for each outgoing channel."""

    betas: tuple[Dropout, Dropout] = (0.9, 0.999)

    weight_decay: NonNegativeFloat = 0.0

    amsgrad: bool = False
    """Divide by the largest second moment so far instead of the present one, as ResUNetDecouple+ does."""

    state_space_learning_rate: PositiveFloat | None = 1e-3
    """Upper bound of the rate for A, B, C, D and dt of state-space layers (S4, Mamba), which then get no weight decay;
    None treats them like all others, as SFC does."""

    gradient_clip: PositiveFloat | None = 5.0
    """Largest L2 norm of the gradient; None leaves it as it is."""

    def __post_init__(self) -> None:
        check_options(self)


class MuonAndAdam(torch.optim.Optimizer):
    """Muon for the groups marked `matrix` and torch's AdamW for all others, as one optimiser with one state.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: a matrix steps by the orthogonal
    matrix that is nearest to its averaged gradient, so that all directions learn at the same pace. The step is scaled
    as in J. Liu et al., "Muon is Scalable for LLM Training", 2025, to the size of Adam's. A kernel of a convolution
    steps as the matrix of its outgoing channels and of all that each sees.

    torch's own Muon takes matrices alone, and makes them orthogonal in bfloat16: on a processor that has none, that
    takes longer than the gradients of a small model.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], amsgrad: bool = False
    ) -> None:
        rest = [group for group in groups if not group["matrix"]]
        # Fills in the settings that a group lacks. AdamW, so that a weight decay is apart from the gradient for both.
        self._adam = torch.optim.AdamW(rest, lr=lr, betas=betas, amsgrad=amsgrad) if rest else None
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["matrix"]:
                for kernel in group["params"]:
                    if kernel.grad is not None:
                        self._step_matrix(kernel, group["lr"], group["weight_decay"])
        if self._adam is not None:
            # Reading a state back makes new groups.
            self._adam.param_groups = [group for group in self.param_groups if not group["matrix"]]
            self._adam.state = self.state
            self._adam.step()
        return loss

    def _step_matrix(self, kernel: Tensor, learning_rate: float, weight_decay: float) -> None:
        grad, own = kernel.grad.flatten(1), self.state[kernel]  # type: ignore[union-attr]
        if "momentum_buffer" not in own:
            own["momentum_buffer"] = torch.zeros_like(grad)
        momentum = own["momentum_buffer"].lerp_(grad, 1 - _MOMENTUM)
        direction = nearest_orthogonal(grad.lerp(momentum, _MOMENTUM))
        kernel.mul_(1 - learning_rate * weight_decay)
        # An orthogonal matrix of n rows or columns has elements of 1 / sqrt(n); Adam's steps are about 0.2 of its rate.
        size = 0.2 * math.sqrt(max(grad.shape))
        kernel.add_(direction.view_as(kernel), alpha=-learning_rate * size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also takes the state of runs of earlier versions, which called the momentum otherwise or counted steps."""
        super().__setstate__(state)
        for group in self.param_groups:
            if group["matrix"]:
                for own in (self.state[matrix] for matrix in group["params"] if matrix in self.state):
                    if "momentum" in own:
                        own["momentum_buffer"] = own.pop("momentum")
                    own.pop("step", None)


def nearest_orthogonal(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """The orthogonal matrix of the same directions, roughly: all singular values become 0.7 to 1.2.

    Five iterations of the quintic of K. Jordan et al. (2024), in bfloat16 on a GPU and in float32 elsewhere.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return nearest_orthogonal(matrix.T).T
    found = matrix.to(torch.bfloat16) if matrix.is_cuda else matrix
    found = found / found.norm().clamp_min(1e-7)
    linear, cubic, quintic = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = linear * found + (cubic * gram + quintic * gram @ gram) @ found
    return found.to(matrix.dtype)


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": MuonAndAdam}[config.name]
    groups = parameter_groups(model, config)
    return kind(groups, lr=config.learning_rate, betas=config.betas, amsgrad=config.amsgrad)


def parameter_groups(model: nn.Module, config: OptimiserConfig) -> list[dict[str, Any]]:
    """All parameters that learn; state-space systems apart, with a bounded learning rate and no weight decay, and with
    Muon the matrices apart as well."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise ConfigError("nothing is left to learn: freeze fewer parts")
    careful = state_space_parameters(model) if config.state_space_learning_rate is not None else set()
    matrices = matrix_parameters(model, config.matrix_kernels) - careful if config.name == "muon" else set()
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
        present = {
            "weight_decay": new["weight_decay"],
            "betas": config.betas,
            "decoupled_weight_decay": config.name != "adam",
        }
        # Muon's groups have neither betas nor a way of decay.
        old.update({key: value for key, value in present.items() if key in old})


def matrix_parameters(model: nn.Module, kernels: bool = False) -> set[int]:
    """Identities of the weights of linear layers and, if asked, of convolutions that mix channels."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, FrameConv) if kernels else (nn.Linear,)
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    return {id(layer.weight) for layer in layers if getattr(layer, "groups", 1) == 1}


def state_space_parameters(model: nn.Module) -> set[int]:
    """Identities of the parameters that describe dynamics: the systems of S4, S4D and Mamba layers."""
    systems = [module for module in model.modules() if isinstance(module, StateSpace | SelectiveSystem)]
    return {id(parameter) for system in systems for parameter in system.parameters()}
