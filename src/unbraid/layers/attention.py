"""Multi-head attention, from a sequence to itself and from queries to another sequence. Features lie last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.linear import Linear
from unbraid.layers.rotary import rotate
from unbraid.options import Dropout, PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class SelfAttentionConfig:
    """Settings of self-attention; the defaults are those of the small TF-Locoformer."""

    kind: Literal["self-attention"] = "self-attention"

    num_heads: PositiveInt = 4

    inner_dim: PositiveInt = 96
    """Features of all heads together."""

    positions: Literal["none", "rotary"] = "none"
    """Whether frames know their places: SFC found it better without, the original TF-Locoformer rotates."""

    dropout: Dropout = 0.1

    bias: bool = False
    """Whether the projections have biases."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.inner_dim % self.num_heads:
            raise ConfigError(f"inner_dim {self.inner_dim} is not a multiple of num_heads {self.num_heads}")
        if self.positions == "rotary" and self.inner_dim // self.num_heads % 2:
            raise ConfigError("rotary positions need an even number of features per head")


class SelfAttention(nn.Module):
    """Every frame attends to every frame of its sequence."""

    def __init__(self, dim: int, config: SelfAttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.query_key_value = Linear(dim, 3 * config.inner_dim, bias=config.bias)
        self.out = Linear(config.inner_dim, dim, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        heads = "batch frame (which head dim) -> which batch head frame dim"
        query, key, value = rearrange(
            self.query_key_value(features), heads, which=3, head=self.config.num_heads
        ).unbind()
        if self.config.positions == "rotary":
            query, key = rotate(query), rotate(key)
        rate = self.config.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.dropout(self.out(rearrange(attended, "batch head frame dim -> batch frame (head dim)")))


class CrossAttention(nn.Module):
    """Queries attend to tokens, with a bias on the scores; projections have no biases."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"{dim} features cannot be split into {num_heads} heads: choose a divisor")
        self.num_heads = num_heads
        self.query = Linear(dim, dim, bias=False)
        self.key_value = Linear(dim, 2 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def forward(
        self,
        queries: Float[Tensor, "#batch query dim"],
        tokens: Float[Tensor, "batch token dim"],
        bias: Float[Tensor, "#head query token"] | None,
    ) -> Float[Tensor, "batch query dim"]:
        """Queries with a batch axis of 1 are shared by all rows."""
        query, key, value = self.project(queries, tokens)
        if bias is None:
            attended = F.scaled_dot_product_attention(query, key, value)
        elif torch.is_grad_enabled() and bias.requires_grad and bias.device.type == "cpu":
            # PyTorch's fast kernel has no gradient of the bias there, and its slow one looks for rows of -inf besides.
            attended = self._scores(query, key, bias).softmax(dim=-1) @ value
        else:
            # A bias that is a parameter keeps PyTorch from its fast kernel even where no gradient is wanted.
            bias = bias if torch.is_grad_enabled() else bias.detach()
            # Of one that is transposed in memory it would make a copy for every row of the batch.
            bias = bias.to(query.dtype).contiguous().expand(query.shape[0], self.num_heads, -1, -1)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(rearrange(attended, "batch head query dim -> batch query (head dim)"))

    def weights(
        self,
        queries: Float[Tensor, "#batch query dim"],
        tokens: Float[Tensor, "batch token dim"],
        bias: Float[Tensor, "#head query token"] | None,
    ) -> Float[Tensor, "batch head query token"]:
        """How much each query takes of each token; for looking at, `forward` never makes them."""
        query, key, _ = self.project(queries, tokens)
        return self._scores(query, key, bias).softmax(dim=-1)

    def _scores(self, query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
        scores = (query * key.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return scores if bias is None else scores + bias.to(scores.dtype)

    def skipped_macs(self, queries: Tensor, tokens: Tensor, bias: Tensor | None) -> int:
        """Shared queries are projected once, not for every row."""
        dim = queries.shape[-1]
        return (tokens.shape[0] - queries.shape[0]) * queries.shape[1] * dim * dim

    def project(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = rearrange(self.query(queries), "batch query (head dim) -> batch head query dim", head=self.num_heads)
        key, value = rearrange(
            self.key_value(tokens),
            "batch token (which head dim) -> which batch head token dim",
            which=2,
            head=self.num_heads,
        ).unbind()
        return query.expand(key.shape[0], -1, -1, -1), key, value
