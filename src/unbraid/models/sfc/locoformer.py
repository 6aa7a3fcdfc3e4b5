"""TF-Locoformer: attention along frequency and along time, each between two convolutional feed-forward layers.

K. Saijo, G. Wichern, F. G. Germain, Z. Pan, J. Le Roux, "TF-Locoformer: Transformer with Local Modeling by Convolution
for Speech Separation and Enhancement", IWAENC 2024, arXiv 2408.03440; without positions as SFC uses it.

    block:  along the bands of each frame, then along the frames of each band:
            x <- x + ConvSwiGLU(norm x);   x <- x + attention(norm x);   x <- x + ConvSwiGLU(norm x)

Deviation: the feed-forward layers are added whole, as the released code does, and not by half as Macaron layers are.
`sequence` puts any other sequence layer in the place of attention.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.feedforward import ConvSwiGLU
from unbraid.layers.norms import RMSGroupNorm
from unbraid.layers.sequence import SequenceConfig, along_bands, along_frames, build_sequence_layer
from unbraid.options import Dropout, PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class LocoformerConfig:
    """Settings of TF-Locoformer; the defaults are the small size."""

    kind: Literal["tf-locoformer"] = "tf-locoformer"

    dim: PositiveInt = 96
    """Features of each band."""

    num_blocks: PositiveInt = 4

    num_groups: PositiveInt = 4
    """Groups of the norm."""

    sequence: SequenceConfig = field(default_factory=SelfAttentionConfig)
    """The layer between the two feed-forward layers."""

    feedforward_dims: tuple[PositiveInt, PositiveInt] = (128, 128)
    """Hidden features of the feed-forward layer before and of the one after."""

    kernel_size: PositiveInt = 8
    """Bands or frames that a feed-forward layer sees."""

    dropout: Dropout = 0.1

    def __post_init__(self) -> None:
        check_options(self)
        if self.dim % self.num_groups:
            raise ConfigError(f"dim {self.dim} is not a multiple of num_groups {self.num_groups}")


class TFLocoformer(nn.Module):
    """Blocks that keep the shape of their input."""

    def __init__(self, config: LocoformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(LocoformerBlock(config) for _ in range(config.num_blocks))

    def forward(self, features: Float[Tensor, "batch frame band dim"]) -> Float[Tensor, "batch frame band dim"]:
        for block in self.blocks:
            features = block(features)
        return features


class LocoformerBlock(nn.Module):
    """First along bands, then along frames."""

    def __init__(self, config: LocoformerConfig) -> None:
        super().__init__()
        self.frequency = LocoformerPath(config)
        self.time = LocoformerPath(config)

    def forward(self, features: Float[Tensor, "batch frame band dim"]) -> Float[Tensor, "batch frame band dim"]:
        return along_frames(self.time, along_bands(self.frequency, features))


class LocoformerPath(nn.Module):
    """Local, global, local: along one axis."""

    def __init__(self, config: LocoformerConfig) -> None:
        super().__init__()
        dim, (before, after) = config.dim, config.feedforward_dims
        self.norm_before = RMSGroupNorm(dim, config.num_groups)
        self.before = ConvSwiGLU(dim, before, config.kernel_size, config.dropout)
        self.norm_sequence = RMSGroupNorm(dim, config.num_groups)
        self.sequence = build_sequence_layer(dim, config.sequence)
        self.norm_after = RMSGroupNorm(dim, config.num_groups)
        self.after = ConvSwiGLU(dim, after, config.kernel_size, config.dropout)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        features = features + self.before(self.norm_before(features))
        features = features + self.sequence(self.norm_sequence(features))
        return features + self.after(self.norm_after(features))
