"""What every separation model promises, so that everybody can read the promise and nobody needs to know the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, SignalError
from unbraid.layers.memory import Checkpointed
from unbraid.models.live import LiveSession
from unbraid.options import NonNegativeFloat, PositiveFloat, PositiveInt, SampleRate, check_options

ConfigT = TypeVar("ConfigT")

InputLevel = Literal["normalised", "as-given", "whole-file"]
"""How loud a model wants its input, which whoever separates a recording sees to."""

Refinement = Literal["none", "wiener"]
"""What is done to estimates before they are joined; `wiener` shares out the mixture by their powers."""


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

    latency_samples: PositiveInt | None = None
    """How much later than it went in a sample may come out of a live session; None where the model hears the whole."""

    refine: Refinement = "none"
    """What brings the estimates of these weights nearer to their sources, as measured; nobody's training sees it."""

    refine_from_hz: NonNegativeFloat = 0.0
    """From which frequency on."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ConfigError(f"sources needs at least one name and no name twice: {self.sources}")

    @property
    def num_sources(self) -> int:
        return len(self.sources)


class SeparationModel(nn.Module, ABC, Generic[ConfigT]):
    """A mixture in, one estimate per source out, with the same length, scale and device.

    Any length from one sample up is taken; the rows of a batch do not influence each other; silence stays finite;
    evaluation is deterministic.
    """

    config: ConfigT
    """The frozen dataclass that the model was built from, and that its weights are stored with."""

    spec: ModelSpec

    refines: bool = False
    """True where the last estimate corrects the one before it, instead of being one more step towards it."""

    def __call__(self, mixture: Tensor) -> Float[Tensor, "batch source channel sample"]:
        """`forward`, after a look at the mixture: what no model takes ends in one sentence."""
        self.check_mixture(mixture)
        return super().__call__(mixture)

    @abstractmethod
    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        """Estimates every source of `spec.sources`, in that order."""

    def intermediate_estimates(
        self, mixture: Float[Tensor, "batch channel sample"]
    ) -> tuple[Float[Tensor, "batch source channel sample"], ...]:
        """For training: all estimates in the order in which they are made; the last is what `forward` returns."""
        return (self(mixture),)

    def open_session(self, batch_size: int = 1) -> LiveSession:
        """Separation of sound that is still arriving; ConfigError where the model looks ahead."""
        raise ConfigError(
            f"{type(self).__name__} hears a recording as a whole and cannot separate it while it arrives",
            remedy="take a causal model, such as the preset 's4m-live'",
        )

    def compiled_parts(self) -> tuple[nn.Module, ...]:
        """What torch.compile is given: the whole, or the one part that runs many times, which is then compiled once."""
        return (self,)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trades time for memory in training; raises ConfigError where the model has no part that can do so."""
        parts = [part for part in self.modules() if isinstance(part, Checkpointed)]
        if not parts:
            raise ConfigError(
                f"{type(self).__name__} does not support gradient checkpointing: set gradient_checkpointing=false, and "
                "a smaller batch_size with accumulate if memory is short"
            )
        for part in parts:
            part.checkpointing = enabled

    def check_mixture(self, mixture: Tensor) -> None:
        """Raises SignalError for what is not (batch, channel, sample) with the model's channels and type of numbers."""
        name, channels = type(self).__name__, self.spec.num_channels
        if mixture.ndim != 3 or mixture.shape[1] != channels or mixture.shape[2] < 1:
            raise SignalError(
                f"{name} takes a mixture of shape (batch, {channels}, samples), which is {channels} "
                f"channel{'s' * (channels > 1)} and at least 1 sample, not {tuple(mixture.shape)}"
            )
        if not mixture.is_floating_point():
            raise SignalError(f"{name} takes samples as floating-point numbers about -1 to 1, not {mixture.dtype}")
        weight = next(self.parameters(), mixture)
        if mixture.dtype != weight.dtype and not torch.is_autocast_enabled(mixture.device.type):
            raise SignalError(f"{name} has weights in {weight.dtype} and cannot take a mixture in {mixture.dtype}")

    @classmethod
    def from_pretrained(cls, source: str | PathLike[str], *, revision: str | None = None) -> SeparationModel:
        """As models of the Hugging Face hub are loaded: a repository `owner/name`, a folder, or any name of a model.

        The same as `unbraid.load_model("hf:owner/name@revision")`; TypeError where the model is of another class.
        """
        # Found by name, because the weights' room lies above this one.
        return _sharing().load_shared(source, revision, cls)

    def save_pretrained(self, folder: str | PathLike[str], *, name: str | None = None) -> None:
        """Writes the model and a card into a folder, as `from_pretrained` and the hub take it."""
        _sharing().save_shared(self, folder, name)


def _sharing() -> Any:
    return import_module("unbraid.weights.sharing")
