"""Optimisers and their groups of parameters: state-space systems are handled with care, matrices by Muon if asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unbraid.errors import ConfigError
from unbraid.layers.convolution import FrameConv
from unbraid.layers.mamba import SelectiveSystem
from unbraid.layers.state_space import StateSpace
from unbraid.options import Dropout, NonNegativeFloat, PositiveFloat, check_options


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
    """torch's Muon for the groups marked `matrix` and its AdamW for all others, as one optimiser with one state.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: a matrix steps by the orthogonal
    matrix that is nearest to its averaged gradient, so that all directions learn at the same pace. The step is scaled
    as in J. Liu et al., "Muon is Scalable for LLM Training", 2025, to the size of Adam's. A kernel of a convolution
    steps as the matrix of its outgoing channels and of all that each sees.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], amsgrad: bool = False
    ) -> None:
        self._parts: dict[bool, torch.optim.Optimizer] = {}
        # Both fill in the settings that a group lacks.
        if matrices := [group for group in groups if group["matrix"]]:
            flat = [{**group, "params": _as_matrices(group["params"])} for group in matrices]
            self._parts[True] = torch.optim.Muon(flat, lr=lr, adjust_lr_fn="match_rms_adamw")
            for group, filled in zip(matrices, flat, strict=True):
                group.update({name: value for name, value in filled.items() if name != "params"})
        if rest := [group for group in groups if not group["matrix"]]:
            # AdamW, so that a weight decay is apart from the gradient for both.
            self._parts[False] = torch.optim.AdamW(rest, lr=lr, betas=betas, amsgrad=amsgrad)
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for is_matrix, part in self._parts.items():
            # Reading a state back makes new groups.
            part.param_groups = [group for group in self.param_groups if group["matrix"] is is_matrix]
            part.state = self.state
            if is_matrix:
                self._step_matrices(part)
            else:
                part.step()
        return loss

    def _step_matrices(self, muon: torch.optim.Optimizer) -> None:
        """Muon sees matrices that lie where the kernels lie; what it keeps of each is kept under the kernel's name."""
        groups, muon.param_groups, muon.state = muon.param_groups, [], defaultdict(dict)
        for group in groups:
            matrices = _as_matrices(group["params"])
            muon.param_groups.append({**group, "params": matrices})
            for kernel, matrix in zip(group["params"], matrices, strict=True):
                if kernel.grad is not None:
                    matrix.grad = kernel.grad.reshape(matrix.shape)
                    muon.state[matrix] = self.state[kernel]
        muon.step()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also takes the state of runs before unbraid used torch's Muon."""
        super().__setstate__(state)
        for group in self.param_groups:
            if group["matrix"] and "ns_steps" not in group:
                group.update({**self._parts[True].defaults, "lr": group["lr"], "weight_decay": group["weight_decay"]})
                for own in (self.state[matrix] for matrix in group["params"] if matrix in self.state):
                    own["momentum_buffer"] = own.pop("momentum")
                    del own["step"]


def _as_matrices(kernels: list[nn.Parameter]) -> list[Tensor]:
    return [kernel.detach().view(kernel.shape[0], -1) for kernel in kernels]


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
