"""A dual-path recurrent separator: along the bands of each frame, then along the frames of each band.

Y. Luo, Z. Chen, T. Yoshioka, "Dual-path RNN", ICASSP 2020, and its form on the plane of bands and frames in
Y. Luo, J. Yu, "Music Source Separation with Band-Split RNN", 2023. SFC uses a dual-path GRU as its second separator.

ours: six blocks and 128 states; SFC's own figures are not published.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.norms import RMSGroupNorm
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.layers.sequence import SequenceConfig, along_bands, along_frames, build_sequence_layer
from unbraid.options import PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class DualPathConfig:
    """Settings of the dual-path separator."""

    kind: Literal["dual-path"] = "dual-path"

    dim: PositiveInt = 96
    """Features of each band."""

    num_blocks: PositiveInt = 6

    num_groups: PositiveInt = 4
    """Groups of the norm."""

    sequence: SequenceConfig = field(default_factory=RecurrentConfig)

    def __post_init__(self) -> None:
        check_options(self)
        if self.dim % self.num_groups:
            raise ConfigError(f"dim {self.dim} is not a multiple of num_groups {self.num_groups}")


class DualPath(nn.Module):
    """x <- x + sequence(norm x), by turns along either axis; keeps the shape of its input."""

    def __init__(self, config: DualPathConfig) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(
                RMSGroupNorm(config.dim, config.num_groups), build_sequence_layer(config.dim, config.sequence)
            )
            for _ in range(2 * config.num_blocks)
        )

    def forward(self, features: Float[Tensor, "batch frame band dim"]) -> Float[Tensor, "batch frame band dim"]:
        for index, path in enumerate(self.paths):
            features = features + (along_frames if index % 2 else along_bands)(path, features)
        return features
