"""The layers that read a whole sequence, by config: any of them stands where another one does.

All of them map (batch, frame, dim) to the same shape. What a "frame" is, is the caller's affair: `along_bands` and
`along_frames` run a layer over either axis of a plane.
"""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.attention import SelfAttention, SelfAttentionConfig
from unbraid.layers.mamba import Mamba, MambaConfig
from unbraid.layers.recurrent import Recurrent, RecurrentConfig
from unbraid.layers.state_space import StateSpaceConfig, StateSpaceLayer

SequenceConfig = SelfAttentionConfig | StateSpaceConfig | MambaConfig | RecurrentConfig
"""Union of the configs of all sequence layers."""

_LAYERS: dict[type[SequenceConfig], Callable[..., nn.Module]] = {
    SelfAttentionConfig: SelfAttention,
    StateSpaceConfig: StateSpaceLayer,
    MambaConfig: Mamba,
    RecurrentConfig: Recurrent,
}


def build_sequence_layer(dim: int, config: SequenceConfig) -> nn.Module:
    """The layer that the config describes, for `dim` features."""
    return _LAYERS[type(config)](dim, config)


class BothWays(nn.Module):
    """Two causal layers of one kind, one from either end; what they find is added."""

    def __init__(self, dim: int, config: SequenceConfig) -> None:
        super().__init__()
        self.forwards = build_sequence_layer(dim, config)
        self.backwards = build_sequence_layer(dim, config)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        return self.forwards(features) + self.backwards(features.flip(1)).flip(1)


def along_bands(
    layer: Callable[[Tensor], Tensor], features: Float[Tensor, "batch frame band dim"]
) -> Float[Tensor, "batch frame band dim"]:
    """Runs a sequence layer over the bands of each frame."""
    rows = layer(rearrange(features, "batch frame band dim -> (batch frame) band dim"))
    return rearrange(rows, "(batch frame) band dim -> batch frame band dim", batch=features.shape[0])


def along_frames(
    layer: Callable[[Tensor], Tensor], features: Float[Tensor, "batch frame band dim"]
) -> Float[Tensor, "batch frame band dim"]:
    """Runs a sequence layer over the frames of each band."""
    rows = layer(rearrange(features, "batch frame band dim -> (batch band) frame dim"))
    return rearrange(rows, "(batch band) frame dim -> batch frame band dim", batch=features.shape[0])
