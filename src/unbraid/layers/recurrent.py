"""Recurrent sequence layers. Features lie last: (batch, frame, dim)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.kernels.onednn import half_precision_where_it_runs
from unbraid.layers.kernels.recurrent_op import recurrence
from unbraid.layers.linear import Linear
from unbraid.options import PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Settings of a recurrent layer."""

    kind: Literal["gru", "lstm"] = "gru"

    hidden_dim: PositiveInt = 128
    """Features of the state, in each direction."""

    bidirectional: bool = True

    def __post_init__(self) -> None:
        check_options(self)


class Recurrent(nn.Module):
    """A GRU or LSTM, and a linear map from its states back to the features."""

    def __init__(self, dim: int, config: RecurrentConfig) -> None:
        super().__init__()
        layer = nn.GRU if config.kind == "gru" else nn.LSTM
        self.states = layer(dim, config.hidden_dim, batch_first=True, bidirectional=config.bidirectional)
        self.out = Linear(config.hidden_dim * (2 if config.bidirectional else 1), dim)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        if torch.compiler.is_exporting():
            return self.out(recurrence(self.states, features))
        with half_precision_where_it_runs(features.device):
            states = self.states(features.to(self.out.weight.dtype))[0]
        return self.out(states)
