"""MTFA: multi-scale temporal-frequency attention inside a residual U-Net.

L. Chen, X. Zheng, C. Zhang, L. Guo, B. Yu, "Multi-scale temporal-frequency attention for music source separation", ICME
2022, arXiv 2209.00805.

A RECONSTRUCTION. The abstract tells of a module that models correlation along time and along frequency, and of a
multi-scale form of it; the paper's body is not public to us. The backbone is ResUNetDecouple+, the best published
vocals model before it; the module and its places follow relatives with published figures (`docs/models/mtfa.md`).

    ... -> encoder -> attention -> pooling, skip -> ... -> centre stage -> attention -> ...

"Multi-scale" is read in three ways, which may be combined: attention at several depths of the U-Net (`places`, the
default), at several steps inside one module (`attention.pyramid`), and by patterns of several lengths
(`attention.patterns`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from unbraid.errors import ConfigError
from unbraid.layers.axial import TemporalFrequencyAttention
from unbraid.layers.axis_attention import TemporalFrequencyConfig
from unbraid.models.resunet.config import CENTRE, Place, ResUNetConfig, plane_at
from unbraid.models.resunet.model import ResUNet, ResUNetCore

LEVELS: tuple[Place, ...] = ("E3", "E4", "E5", "E6", *CENTRE)
"""Several levels. `CENTRE` alone is one level, the deepest, as in TFSWA-ResUNet."""


@dataclass(frozen=True, kw_only=True)
class MTFAConfig(ResUNetConfig):
    """Settings of MTFA: those of the U-Net, and those of attention."""

    attention: TemporalFrequencyConfig = field(default_factory=TemporalFrequencyConfig)

    places: tuple[Place, ...] = LEVELS
    """ours: stages that are followed by attention. The outermost two have planes so large that it would cost more than
    all the rest."""

    centre: Literal["kept", "replaced"] = "kept"
    """ours: whether centre stages named in `places` stand before their attention or give way to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.places)) < len(self.places):
            raise ConfigError(f"places names a stage twice: {', '.join(self.places)}")


class MTFA(ResUNet):
    """A residual U-Net with temporal-frequency attention at several of its levels."""

    def __init__(self, config: MTFAConfig) -> None:
        after: dict[Place, nn.Module] = {
            place: TemporalFrequencyAttention(config.dim_at(place), config.attention) for place in config.places
        }
        replaced: list[Place] = [place for place in CENTRE if place in config.places and config.centre == "replaced"]
        super().__init__(config, ResUNetCore(config, after, replaced))


@dataclass(frozen=True)
class AttentionCost:
    """What one attention module compares, per head."""

    place: Place
    num_frames: int
    num_freqs: int
    dim: int

    @property
    def time_entries(self) -> int:
        """Scores along time: every bin compares all frames."""
        return self.num_freqs * self.num_frames**2

    @property
    def frequency_entries(self) -> int:
        """Scores along frequency: every frame compares all bins."""
        return self.num_frames * self.num_freqs**2


def attention_costs(config: ResUNetConfig, seconds: float, places: tuple[Place, ...]) -> tuple[AttentionCost, ...]:
    """Sizes of the planes at these stages, for one item so many seconds long."""
    num_samples = max(1, round(seconds * config.sample_rate))
    return tuple(AttentionCost(place, *plane_at(config, place, num_samples), config.dim_at(place)) for place in places)
