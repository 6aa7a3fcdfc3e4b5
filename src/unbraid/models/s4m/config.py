"""Settings of S4M."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unbraid.errors import ConfigError
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options


@dataclass(frozen=True, kw_only=True)
class S4MConfig:
    """Settings of S4M; the defaults are S4M-tiny at 16 kHz (1,848,423 parameters)."""

    sample_rate: SampleRate = 16_000
    """Rate of mixture and estimates, in Hz."""

    sources: tuple[str, ...] = ("speaker1", "speaker2")
    """Names of the speakers; their number is the number of estimates."""

    kernel_ms: PositiveFloat = 2.0
    """Length of the encoder's filters, in milliseconds; they advance by a quarter of it."""

    bottleneck_dim: PositiveInt = 128
    """Features that the rounds hand on."""

    hidden_dim: PositiveInt = 512
    """Features inside the block, the same at every level."""

    num_rounds: PositiveInt = 16
    """How often the one shared block runs."""

    depth: PositiveInt = 5
    """Levels of the block; each halves the number of frames."""

    feedforward_factor: PositiveInt = 2
    """Width of the feed-forward part over `hidden_dim`."""

    fusion: Literal["next", "previous"] = "next"
    """Which level the first top-down step merges with: the coarser one, or the finer one as in the published code."""

    state_space: StateSpaceConfig = field(default_factory=StateSpaceConfig)
    """The state-space layer at the coarsest level."""

    coarsest: Literal["s4", "mamba", "attention"] = "s4"
    """What reads the coarsest level: the layer of `state_space`, which is S4; or, ours: Mamba with as many states, in
    both directions where `state_space.bidirectional` is true, or attention with rotary positions."""

    decoder_state_space: Literal["none", "coarse", "all"] = "none"
    """Further state-space layers after the top-down merges: none (S4M-tiny), all but the finest (S4M), or all."""

    chunk_seconds: PositiveFloat = 10.0
    """ours: pieces for long recordings. Statistics are taken over a piece, so it should hold a few sentences."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.coarsest == "attention" and not self.state_space.bidirectional:
            raise ConfigError(
                'coarsest="attention" hears both ways: set state_space.bidirectional, or choose s4 or mamba'
            )
        check_filters(self.kernel_ms, self.sample_rate)

    @property
    def kernel_samples(self) -> int:
        return int(self.kernel_ms * self.sample_rate / 1000)

    @property
    def stride_samples(self) -> int:
        return self.kernel_samples // 4


def check_filters(kernel_ms: float, sample_rate: int) -> None:
    """Raises ConfigError unless filters of that length can advance by a quarter of it, in whole samples."""
    num_samples = int(kernel_ms * sample_rate / 1000)
    if num_samples < 4 or num_samples % 4:
        raise ConfigError(
            f"kernel_ms={kernel_ms} at {sample_rate} Hz makes filters of {num_samples} samples; "
            "choose a length that is a multiple of four samples"
        )
