"""Temporal-frequency attention: what repeats in time, and what sounds together in frequency, helps each other.

L. Chen, X. Zheng, C. Zhang, L. Guo, B. Yu, "Multi-scale temporal-frequency attention for music source separation", ICME
2022, arXiv 2209.00805. Only its abstract is public; the module is a reconstruction after published relatives.

    time        every bin for itself: a sequence of frames attends to itself
    frequency   every frame for itself: a sequence of bins attends to itself

Rows of a plane do not know of each other along one axis. In inference they are taken a few at a time, which bounds the
memory and changes nothing.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.axis_attention import AxialPath, GlobalPath, LightPath, TemporalFrequencyConfig, build_gate
from unbraid.layers.linear import Linear
from unbraid.layers.memory import in_pieces

_TOKENS_AT_ONCE = 1 << 14
"""Places of a plane that are attended to together, in whole rows."""

Path = AxialPath | LightPath | GlobalPath


class TemporalFrequencyAttention(nn.Module):
    """Attention along time and along frequency of any plane of features; keeps its shape."""

    def __init__(self, dim: int, config: TemporalFrequencyConfig) -> None:
        super().__init__()
        self.order, self.tokens_at_once = config.order, _TOKENS_AT_ONCE
        self.time = build_path(dim, config) if config.order != "frequency" else None
        self.frequency = build_path(dim, config) if config.order != "time" else None
        self.merge = Linear(2 * dim, dim) if config.order == "parallel" else None
        self.merge_gate = build_gate(dim, config) if config.order == "parallel" else nn.Identity()

    def forward(self, features: Float[Tensor, "batch dim frame freq"]) -> Float[Tensor, "batch dim frame freq"]:
        plane = features.permute(0, 2, 3, 1)
        if self.merge is not None:
            both = torch.cat([self.along_time(plane), self.along_frequency(plane)], dim=-1)
            plane = plane + self.merge_gate(self.merge(both))
        elif self.order == "frequency-time":
            plane = self.along_time(self.along_frequency(plane))
        else:
            plane = self.along_frequency(self.along_time(plane))
        return plane.permute(0, 3, 1, 2)

    def along_time(self, plane: Float[Tensor, "batch frame freq dim"]) -> Float[Tensor, "batch frame freq dim"]:
        """Over the frames of each bin."""
        if self.time is None:
            return plane
        return self._along(self.time, plane.transpose(1, 2)).transpose(1, 2)

    def along_frequency(self, plane: Float[Tensor, "batch frame freq dim"]) -> Float[Tensor, "batch frame freq dim"]:
        """Over the bins of each frame."""
        return plane if self.frequency is None else self._along(self.frequency, plane)

    def _along(self, path: Path, plane: Float[Tensor, "batch other frame dim"]) -> Tensor:
        if isinstance(path, GlobalPath):
            return path(plane)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._rows(path, plane)
        batch, _, num_frames, _ = plane.shape
        size = max(1, self.tokens_at_once // (batch * num_frames))
        return in_pieces(lambda piece: self._rows(path, piece), plane, size=size, dim=1)

    @staticmethod
    def _rows(path: Path, plane: Float[Tensor, "batch other frame dim"]) -> Tensor:
        rows = path(rearrange(plane, "batch other frame dim -> (batch other) frame dim"))
        return rearrange(rows, "(batch other) frame dim -> batch other frame dim", batch=plane.shape[0])


def build_path(dim: int, config: TemporalFrequencyConfig) -> Path:
    """Attention along one axis, in the form that the config names."""
    match config.form:
        case "light":
            return LightPath(dim, config)
        case "global":
            return GlobalPath(dim, config)
        case "axial":
            return AxialPath(dim, config)
