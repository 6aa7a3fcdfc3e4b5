"""Mamba: a sequence layer whose state-space system is chosen by the input, frame by frame.

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024 (Mamba-1). Names in
brackets are those of the published code:

    features -> widen (in_proj) -> inputs, gate
    inputs   -> causal convolution (conv1d) -> SiLU -> x
    x        -> select (x_proj) -> dt, B, C;  dt -> step (dt_proj) -> softplus
    x, dt, B, C -> scan (A_log, D) -> times SiLU(gate) -> narrow (out_proj)

There is no norm and no residual inside; that is the caller's, as is running a sequence backwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.convolution import CausalDepthwiseConv
from unbraid.layers.kernels.selective_scan import selective_scan
from unbraid.layers.linear import Linear
from unbraid.layers.memory import in_pieces
from unbraid.layers.norms import at_least_float32
from unbraid.options import NonNegativeFloat, PositiveFloat, PositiveInt, check_options

_SEQUENCES_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True)
class MambaConfig:
    """Settings of a Mamba layer; the defaults are those of SFC-Mamba, the initial steps those of Mamba-1."""

    kind: Literal["mamba"] = "mamba"

    state_size: PositiveInt = 8
    """States of each feature."""

    conv_size: PositiveInt = 4
    """Frames that the causal convolution sees, the present one among them."""

    expand: PositiveInt = 1
    """How many times wider than the layer's features the inner ones are (Mamba-1: 2)."""

    step_rank: PositiveInt | None = None
    """Width through which the step dt is computed; None is a sixteenth of the layer's, rounded up."""

    min_step: PositiveFloat = 1e-3
    """Smallest initial dt, in frames."""

    max_step: PositiveFloat = 1e-1
    """Largest initial dt, in frames."""

    step_floor: NonNegativeFloat = 1e-4
    """What an initial dt is raised to where it is smaller."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.min_step > self.max_step:
            raise ConfigError(f"min_step is at most max_step, not {self.min_step} and {self.max_step}")


class Mamba(nn.Module):
    """The Mamba-1 layer: causal, from a state of zero, (batch, frame, dim) in and out."""

    def __init__(self, dim: int, config: MambaConfig | None = None) -> None:
        super().__init__()
        config = config or MambaConfig()
        inner, rank = config.expand * dim, config.step_rank or math.ceil(dim / 16)
        self.sizes = [rank, config.state_size, config.state_size]
        self.widen = Linear(dim, 2 * inner, bias=False)
        self.conv = CausalDepthwiseConv(inner, config.conv_size)
        self.select = Linear(inner, sum(self.sizes), bias=False)
        self.step = Linear(rank, inner, bias=False)
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        self.system = SelectiveSystem(inner, config)
        self.narrow = Linear(inner, dim, bias=False)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or len(features) <= _SEQUENCES_AT_ONCE:
            return self._mix(features)
        # Between input and output there are a dozen tensors as large; some sequences at a time need less memory.
        return in_pieces(self._mix, features, size=_SEQUENCES_AT_ONCE)

    def _mix(self, features: Tensor) -> Tensor:
        inputs, gate = self.widen(features).chunk(2, dim=-1)
        inputs = F.silu(self.conv(inputs))
        step, B, C = self.select(inputs).split(self.sizes, dim=-1)
        return self.narrow(self.system(inputs, self.step(step), B, C, gate).to(features.dtype))


class SelectiveSystem(nn.Module):
    """The parameters of the scan itself: what training should give a bounded learning rate and no weight decay."""

    def __init__(self, dim: int, config: MambaConfig) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.arange(1.0, config.state_size + 1).log().repeat(dim, 1))
        self.skip = nn.Parameter(torch.ones(dim))
        span = math.log(config.max_step) - math.log(config.min_step)
        step = torch.exp(torch.rand(dim) * span + math.log(config.min_step)).clamp_min(config.step_floor)
        # The inverse of softplus.
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))

    def forward(
        self,
        inputs: Float[Tensor, "batch frame dim"],
        step: Float[Tensor, "batch frame dim"],
        B: Float[Tensor, "batch frame state"],
        C: Float[Tensor, "batch frame state"],
        gate: Float[Tensor, "batch frame dim"],
    ) -> Float[Tensor, "batch frame dim"]:
        """Scans with A = -exp(log_rate) and dt = softplus(step + step_bias), both in float32 at least."""
        positive = F.softplus(at_least_float32(step) + self.step_bias)
        return selective_scan(inputs, positive, -self.log_rate.exp(), B, C, self.skip, gate)
