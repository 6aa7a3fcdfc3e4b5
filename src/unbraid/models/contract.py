"""What every separation model promises, so that everybody can read the promise and nobody needs to know the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options

InputLevel = Literal["normalised", "as-given", "whole-file"]
"""How loud a model wants its input, which whoever separates a recording sees to."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What goes into a model and what comes out of it."""

    sample_rate: SampleRate
    """Rate of the mixture and of the estimates, in Hz."""

    num_channels: PositiveInt
    """Audio channels that the model takes together: 1 for mono models, 2 for stereo ones."""

    sources: tuple[str, ...]
    """Names of the estimates, in the order of the source axis; they become file names."""

    exchangeable: bool
    """True when the order of the sources carries no meaning (speakers), False when each has its place (stems)."""

    chunk_seconds: PositiveFloat
    """Length of the pieces in which long recordings are best given to the model."""

    level: InputLevel = "normalised"
    """What is done to the input before the model and undone after it. `normalised`: every chunk has the RMS level that
    training examples have; `as-given`: nothing, because loudness tells the model something or the model sees to it
    itself; `whole-file`: the mean of the whole recording is taken off and its standard deviation becomes one."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ConfigError(f"sources needs at least one name and no name twice: {self.sources}")

    @property
    def num_sources(self) -> int:
        return len(self.sources)


class SeparationModel(nn.Module, ABC):
    """A mixture in, one estimate per source out, with the same length, scale and device.

    Any length from one sample up is taken; the rows of a batch do not influence each other; silence stays finite;
    evaluation is deterministic.
    """

    spec: ModelSpec

    refines: bool = False
    """True where the last estimate corrects the one before it, instead of being one more step towards it."""

    @abstractmethod
    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        """Estimates every source of `spec.sources`, in that order."""

    def estimates_on_the_way(
        self, mixture: Float[Tensor, "batch channel sample"]
    ) -> tuple[Float[Tensor, "batch source channel sample"], ...]:
        """For training: all estimates in the order in which they are made; the last is what `forward` returns."""
        return (self(mixture),)
