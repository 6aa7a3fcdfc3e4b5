"""A bag of models: the weighted mean of the estimates of models with the same sources, rate and channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.models.contract import SeparationModel
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.models.packaged.pymss import PymssConfig
from unbraid.models.super_resolution.wrapper import NetworkConfig
from unbraid.options import NonNegativeFloat, check_options

MemberConfig = NetworkConfig | DemucsConfig | PymssConfig


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Settings of a bag of models."""

    members: tuple[MemberConfig, ...]

    weights: tuple[tuple[NonNegativeFloat, ...], ...]
    """For each member, how much its estimate of each source counts; those of a source need not add up to one."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.members or len(self.members) != len(self.weights):
            raise ConfigError(f"{len(self.members)} members need as many rows of weights, not {len(self.weights)}")
        num_sources = len(self.members[0].sources)
        if any(member.sources != self.members[0].sources for member in self.members):
            raise ConfigError("the members of an ensemble estimate the same sources in the same order")
        if any(len(row) != num_sources for row in self.weights):
            raise ConfigError(f"every row of weights has {num_sources} numbers")
        if any(sum(column) <= 0 for column in zip(*self.weights, strict=True)):
            raise ConfigError("every source needs a member whose estimate of it counts")

    @property
    def sources(self) -> tuple[str, ...]:
        return self.members[0].sources


class Ensemble(SeparationModel[EnsembleConfig]):
    """Every member hears the mixture."""

    weights: Tensor

    def __init__(self, members: list[SeparationModel], config: EnsembleConfig) -> None:
        super().__init__()
        self.config, self.spec = config, members[0].spec
        for member in members[1:]:
            for name in ("sample_rate", "num_channels", "exchangeable", "level"):
                if getattr(member.spec, name) != getattr(self.spec, name):
                    raise ConfigError(f"the members of an ensemble have the same {name}")
        self.members = nn.ModuleList(members)
        weights = torch.tensor(config.weights)
        self.register_buffer("weights", weights / weights.sum(dim=0), persistent=False)

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        estimates = [
            member(mixture) * row[:, None, None] for member, row in zip(self.members, self.weights, strict=True)
        ]
        return torch.stack(estimates).sum(dim=0)
