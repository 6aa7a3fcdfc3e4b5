"""Attention along one axis of a plane of frames and bins: the paths that `layers/axial.py` puts together.

    axial    x <- x + MHSA(norm x);  x <- x + MLP(norm x)      each frame (or bin) for itself, over the other axis
    light    x <- x + act(BN(out(attention(act(BN(QKV x))))))  a quarter of the width, one head, no MLP
    global   as axial, but whole frames (or whole tracks of a bin) are compared: one map for the plane and head

Every branch that is added here may have a gate before it (`branches`).

"axial" is the ordinary form. "light" is that of the speech model MTFAA-Net (G. Zhang et al., ICASSP 2022). Inside axial
attention stand the two other readings of "multi-scale": `pyramid` and `patterns`.
"""

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
from unbraid.layers.norms import BatchNorm
from unbraid.layers.rotary import rotate
from unbraid.options import PositiveInt, check_options

Weights = dict[int, Tensor]
"""By step, (row, head, frame, frame_seen): what each frame takes of each other one; sums up to one."""

_LIGHT_SHARE = 4
_LIGHT_SLOPE = 0.25


@dataclass(frozen=True, kw_only=True)
class TemporalFrequencyConfig:
    """Settings of temporal-frequency attention. The paper's body is not public: all of this is a reconstruction."""

    form: Literal["axial", "light", "global"] = "axial"
    """How an axis is attended to; see `layers/axis_attention.py`."""

    order: Literal["time-frequency", "frequency-time", "parallel", "time", "frequency"] = "time-frequency"
    """Which axis comes first. "parallel" joins both by a linear map; "time" and "frequency" leave the other out."""

    num_heads: PositiveInt = 4
    """ours, as in TFSWA-ResUNet; not for the light form, which has one."""

    mlp_ratio: PositiveInt = 2
    """ours: hidden features of the MLP over features."""

    positions: Literal["none", "relative", "rotary"] = "none"
    """ours: none, since convolutions around tell places; "relative" learns a bias per head and distance."""

    reach: PositiveInt = 64
    """ours: greatest distance with a bias of its own, where positions are relative."""

    pyramid: tuple[PositiveInt, ...] = (1,)
    """Attention over averages of so many neighbours as well, joined by a linear map: scales inside one module."""

    patterns: tuple[PositiveInt, ...] = (1,)
    """Queries and keys made of so many neighbours (odd): how long a pattern must be alike. Heads are shared out."""

    map_dim: PositiveInt = 8
    """ours: features of a bin (or frame), per head, by which the global form compares."""

    branches: Literal["added", "gated"] = "added"
    """How each branch joins its input: added as it is, or, ours: through a gate per feature that begins at zero. The
    module then begins as the identity, and what a network did without attention is where learning starts."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.pyramid or not self.patterns:
            raise ConfigError("pyramid and patterns hold at least one number of neighbours each, such as 1,2,4")
        if any(size % 2 == 0 for size in self.patterns):
            raise ConfigError(f"patterns are odd, so that each has a middle, not {self.patterns}")
        if self.num_heads % len(self.patterns):
            raise ConfigError(f"{self.num_heads} heads cannot be shared out among {len(self.patterns)} patterns")
        if self.form != "axial" and (self.pyramid, self.patterns, self.positions) != ((1,), (1,), "none"):
            raise ConfigError(f"pyramid, patterns and positions need form axial, not {self.form}")


class AxialPath(nn.Module):
    """Attention along rows, then an MLP; each added to its input."""

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = RowAttention(dim, config) if config.pyramid == (1,) else PyramidAttention(dim, config)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, config.mlp_ratio)
        self.attention_gate, self.mlp_gate = build_gate(dim, config), build_gate(dim, config)

    def forward(self, rows: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row frame dim"]:
        rows = rows + self.attention_gate(self.attention(self.attention_norm(rows)))
        return rows + self.mlp_gate(self.mlp(self.mlp_norm(rows)))

    def weights(self, rows: Float[Tensor, "row frame dim"]) -> Weights:
        """By step of the pyramid, how much each frame takes of each other one."""
        normed = self.attention_norm(rows)
        if isinstance(self.attention, RowAttention):
            return {1: self.attention.weights(normed)}
        return self.attention.weights(normed)


class Gate(nn.Module):
    """A factor per feature, zero before training."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        return features * self.weight.to(features.dtype)


def build_gate(dim: int, config: TemporalFrequencyConfig) -> nn.Module:
    """What a branch passes before it is added."""
    return Gate(dim) if config.branches == "gated" else nn.Identity()


class Mlp(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.widen = Linear(dim, ratio * dim)
        self.narrow = Linear(ratio * dim, dim)

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        return self.narrow(F.gelu(self.widen(features)))


class RowAttention(nn.Module):
    """Multi-head self-attention along rows."""

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        if dim % config.num_heads:
            raise ConfigError(f"{dim} features cannot be split into {config.num_heads} heads: choose another width")
        if config.positions == "rotary" and dim // config.num_heads % 2:
            raise ConfigError(f"rotary positions need an even number of features per head, not {dim} in all")
        self.config = config
        self.query_key_value = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        relative = config.positions == "relative"
        self.bias = nn.Parameter(torch.zeros(config.num_heads, 2 * config.reach + 1)) if relative else None

    def forward(self, rows: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row frame dim"]:
        query, key, value = self._heads(rows)
        bias = self._bias(rows)
        attended = []
        for heads, size in self._groups():
            wide, known = _windows(query[:, heads], size), _windows(key[:, heads], size)
            # Values as wide as queries keep the kernel that never writes the scores down.
            padded = F.pad(value[:, heads], (0, wide.shape[-1] - value.shape[-1]))
            mask = None if bias is None else bias[heads].expand(len(rows), -1, -1, -1)
            attended.append(F.scaled_dot_product_attention(wide, known, padded, mask)[..., : value.shape[-1]])
        joined = attended[0] if len(attended) == 1 else torch.cat(attended, dim=1)
        return self.out(rearrange(joined, "row head frame dim -> row frame (head dim)"))

    def weights(self, rows: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row head frame frame_seen"]:
        """How much each frame takes of each other one; for looking at, `forward` never makes them."""
        query, key, _ = self._heads(rows)
        scores = []
        for heads, size in self._groups():
            wide, known = _windows(query[:, heads], size), _windows(key[:, heads], size)
            scores.append(wide @ known.transpose(-2, -1) / wide.shape[-1] ** 0.5)
        bias = self._bias(rows)
        summed = torch.cat(scores, dim=1)
        return (summed if bias is None else summed + bias).softmax(dim=-1)

    def _heads(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = rearrange(
            self.query_key_value(rows),
            "row frame (which head dim) -> which row head frame dim",
            which=3,
            head=self.config.num_heads,
        ).unbind()
        return (rotate(query), rotate(key), value) if self.config.positions == "rotary" else (query, key, value)

    def _groups(self) -> list[tuple[slice, int]]:
        """The heads of each pattern length."""
        share = self.config.num_heads // len(self.config.patterns)
        return [(slice(share * i, share * (i + 1)), size) for i, size in enumerate(self.config.patterns)]

    def _bias(self, rows: Tensor) -> Float[Tensor, "head frame frame_seen"] | None:
        if self.bias is None:
            return None
        place = torch.arange(rows.shape[1], device=rows.device)
        reach = self.config.reach
        # A bias that is a parameter keeps PyTorch from its fast kernel even where no gradient is wanted.
        bias = self.bias if torch.is_grad_enabled() else self.bias.detach()
        return bias[:, (place - place[:, None]).clamp(-reach, reach) + reach].to(rows.dtype)


def _windows(features: Float[Tensor, "row head frame dim"], size: int) -> Float[Tensor, "row head frame window_dim"]:
    """Each frame with its neighbours, `size` in all; zeros beyond the ends."""
    if size == 1:
        return features
    padded = F.pad(features, (0, 0, size // 2, size // 2))
    return padded.unfold(2, size, 1).flatten(3)


class PyramidAttention(nn.Module):
    """Attention at several steps: over averages of neighbours, stretched again, joined by a linear map."""

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        self.steps = config.pyramid
        self.scales = nn.ModuleList(RowAttention(dim, config) for _ in config.pyramid)
        self.merge = Linear(len(config.pyramid) * dim, dim)

    def forward(self, rows: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row frame dim"]:
        num_frames = rows.shape[1]
        scales = [
            attention(_averaged(rows, step)).repeat_interleave(step, dim=1)[:, :num_frames]
            for step, attention in zip(self.steps, self.scales, strict=True)
        ]
        return self.merge(torch.cat(scales, dim=-1))

    def weights(self, rows: Float[Tensor, "row frame dim"]) -> Weights:
        """By step, between averaged frames."""
        return {
            step: attention.weights(_averaged(rows, step))  # type: ignore[operator]
            for step, attention in zip(self.steps, self.scales, strict=True)
        }


def _averaged(rows: Float[Tensor, "row frame dim"], step: int) -> Float[Tensor, "row coarse_frame dim"]:
    if step == 1:
        return rows
    return F.avg_pool1d(rows.transpose(1, 2), step, ceil_mode=True, count_include_pad=False).transpose(1, 2)


class LightPath(nn.Module):
    """Attention in a quarter of the features.

    ours: each axis has its own queries, keys and values, and the activation is a PReLU whose slope stays at 0.25.
    """

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        inner = max(1, dim // _LIGHT_SHARE)
        self.query_key_value = Linear(dim, 3 * inner, bias=False)
        self.norm = BatchNorm(3 * inner)
        self.out = Linear(inner, dim, bias=False)
        self.out_norm = BatchNorm(dim)
        self.gate = build_gate(dim, config)

    def forward(self, rows: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row frame dim"]:
        query, key, value = self._heads(rows)
        attended = F.scaled_dot_product_attention(query, key, value).squeeze(1)
        return rows + self.gate(F.leaky_relu(self.out_norm(self.out(attended)), _LIGHT_SLOPE))

    def weights(self, rows: Float[Tensor, "row frame dim"]) -> Weights:
        """As in `AxialPath`, of the one head."""
        query, key, _ = self._heads(rows)
        return {1: (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(dim=-1)}

    def _heads(self, rows: Tensor) -> tuple[Tensor, ...]:
        active = F.leaky_relu(self.norm(self.query_key_value(rows)), _LIGHT_SLOPE)
        return active.unsqueeze(1).chunk(3, dim=-1)


class GlobalPath(nn.Module):
    """Whole frames of a plane are compared, or whole tracks of a bin, and mixed by one map per head; then an MLP."""

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        if dim % config.num_heads:
            raise ConfigError(f"{dim} features cannot be split into {config.num_heads} heads: choose another width")
        self.config = config
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key = Linear(dim, 2 * config.num_heads * config.map_dim)
        self.value = Linear(dim, dim)
        self.out = Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, config.mlp_ratio)
        self.attention_gate, self.mlp_gate = build_gate(dim, config), build_gate(dim, config)

    def forward(self, plane: Float[Tensor, "batch other frame dim"]) -> Float[Tensor, "batch other frame dim"]:
        normed = self.attention_norm(plane)
        value = rearrange(
            self.value(normed), "batch other frame (head dim) -> batch head frame (other dim)", head=self._num_heads
        )
        mixed = self._weights(normed).to(value.dtype) @ value
        attended = rearrange(
            mixed, "batch head frame (other dim) -> batch other frame (head dim)", other=plane.shape[1]
        )
        plane = plane + self.attention_gate(self.out(attended))
        return plane + self.mlp_gate(self.mlp(self.mlp_norm(plane)))

    def weights(self, plane: Float[Tensor, "batch other frame dim"]) -> Weights:
        """As in `AxialPath`, one map per head for the whole plane."""
        return {1: self._weights(self.attention_norm(plane))}

    @property
    def _num_heads(self) -> int:
        return self.config.num_heads

    def _weights(self, normed: Tensor) -> Tensor:
        query, key = rearrange(
            self.query_key(normed),
            "batch other frame (which head dim) -> which batch head frame (other dim)",
            which=2,
            head=self._num_heads,
        ).unbind()
        # The mean over the axis that is folded in, and not its sum: maps stay as sharp for longer recordings.
        scale = 1 / (self.config.map_dim**0.5 * normed.shape[1])
        return (query @ key.transpose(-2, -1) * scale).softmax(dim=-1)
