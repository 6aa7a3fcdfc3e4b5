"""Fine-tuning: weights to start from, parts that do not learn, and low-rank adapters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unbraid.errors import ConfigError, MissingExtraError, WeightsError
from unbraid.models.catalog import ARCHITECTURES, ModelConfig
from unbraid.models.contract import SeparationModel
from unbraid.models.ensemble.model import EnsembleConfig
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.models.packaged.pymss import PymssConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.training.config import InitConfig, LoraConfig, TrainingConfig
from unbraid.training.resuming import SETTINGS
from unbraid.weights.store import inspect_model, load_model, read_config

PACKAGED = (DemucsConfig, PymssConfig, EnsembleConfig)
"""Networks that no recipe has."""


@dataclass(frozen=True)
class KeptWeights:
    """What a model took over from another one."""

    source: str

    kept: tuple[str, ...]
    """Tensors that came over whole."""

    reshaped: tuple[str, ...]
    """Tensors of another shape here, which begin anew."""

    new: tuple[str, ...]
    """Tensors that the other model does not have."""

    share: float
    """Of all parameters, how many came over, 0 to 1."""

    def __str__(self) -> str:
        text = f"{self.source}: kept {self.share:.0%} of the weights ({len(self.kept)} tensors)"
        begun = sorted({".".join(name.split(".")[:2]) for name in self.reshaped + self.new})
        return f"{text}; begun anew: {', '.join(begun)}" if begun else text


def start_from(model: nn.Module, source: str) -> KeptWeights:
    """Copies every tensor of the same name and shape from a trained model: bundled, exported or imported.

    So other sources, rates and widths are possible: what depends on them begins anew. A plain separator also goes
    into one with super-resolution, and back. Raises WeightsError where nothing fits.
    """
    theirs, ours = _as_parts_of(model, load_model(source)), model.state_dict()
    kept = tuple(name for name in ours if name in theirs and theirs[name].shape == ours[name].shape)
    if not kept:
        raise WeightsError(
            f"no weights of '{source}' fit this model",
            remedy="choose a recipe of the same architecture and size (unbraid models show), or change it with "
            "`model.KEY=VALUE`",
        )
    with torch.no_grad():
        for name in kept:
            ours[name].copy_(theirs[name])
    total = sum(tensor.numel() for tensor in ours.values())
    return KeptWeights(
        source=source,
        kept=kept,
        reshaped=tuple(name for name in ours if name in theirs and name not in kept),
        new=tuple(name for name in ours if name not in theirs),
        share=sum(ours[name].numel() for name in kept) / total,
    )


def network_of_run(config: TrainingConfig, init: str | None, earlier: Mapping[str, Any] | None) -> ModelConfig:
    """The network that a run trains: the recipe's, or that of the model it starts from.

    `earlier` are the settings of the run that is resumed, in whose network everything goes on.
    """
    wish = config.init.network
    if wish == "recipe" or (init is None and earlier is None):
        return config.model
    if earlier is not None:
        architecture, values = earlier.get("architecture"), earlier.get("model")
        if architecture not in ARCHITECTURES or not isinstance(values, dict):
            return config.model
        config_class = ARCHITECTURES[architecture][0]
        taken = wish == "theirs" or issubclass(config_class, PACKAGED)
        return read_config(config_class, values, Path(SETTINGS)) if taken else config.model
    assert init is not None
    theirs = inspect_model(init).config
    return theirs if wish == "theirs" or isinstance(theirs, PACKAGED) else config.model


def init_step(config: InitConfig, source: str) -> int:
    """The step at which a run begins from these weights: a number, or what their file says."""
    if config.start_step != "auto":
        return config.start_step
    steps = inspect_model(source).facts.get("steps")
    if not isinstance(steps, int) or steps < 0:
        raise ConfigError(
            "does not say for how many steps it was trained",
            subject=f"'{source}'",
            remedy="set init.start_step to a number of steps",
        )
    return steps


def _as_parts_of(model: nn.Module, other: SeparationModel) -> dict[str, torch.Tensor]:
    """The other model's tensors by the names that they have in this one."""
    wrapped, other_is_wrapped = isinstance(model, WithSuperResolution), isinstance(other, WithSuperResolution)
    if wrapped and not other_is_wrapped:
        return {f"separator.{name}": tensor for name, tensor in other.state_dict().items()}
    return (other.separator if isinstance(other, WithSuperResolution) and not wrapped else other).state_dict()


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Modules whose name begins so no longer learn, and run as in evaluation."""
    for prefix in prefixes:
        found = [name for name, _ in model.named_parameters() if _begins(name, prefix)]
        if not found:
            parts = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(f"there is no part '{prefix}' to freeze; parts of this model are: {parts}")
    for name, parameter in model.named_parameters():
        if any(_begins(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if any(_begins(name, prefix) for prefix in prefixes):
            module.eval()


def add_adapters(model: nn.Module, config: LoraConfig) -> None:
    """Freezes the model and puts an adapter on its linear layers."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    # PyTorch's own attention reads the weights of its last layer and never calls it: an adapter there would not learn.
    attention = {name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)}
    linear = [name for name in linear if name.rpartition(".")[0] not in attention]
    chosen = [name for name in linear if not config.targets or any(_matches(name, part) for part in config.targets)]
    if not chosen:
        raise ConfigError(
            f"no linear layer matches {', '.join(config.targets)}; there are: {', '.join(linear) or 'none'}"
        )
    peft = _peft()
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=chosen, bias="none"
    )
    peft.inject_adapter_in_model(settings, model)


def has_adapters(model: nn.Module) -> bool:
    return any("lora_" in name for name, _ in model.named_parameters())


def merged(model: SeparationModel) -> SeparationModel:
    """A copy with every adapter added to the weights below it."""
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    return model


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtraError("peft", "lora", "training with adapters") from error
    return peft


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def _matches(name: str, part: str) -> bool:
    return _begins(name, part) or part in name.split(".")
