"""Separation while the sound arrives: what a model that never looks ahead offers besides `forward`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from unbraid.axes import Float, Tensor


class LiveSession(ABC):
    """One recording that arrives in pieces of any size.

    All that `push` and `flush` return, joined, is what `forward` gives for all that was pushed, and no longer: a sample
    comes out as soon as `latency_samples` samples after it have gone in. What is kept in between does not grow.
    """

    latency_samples: int
    """How much later a sample may come out than it went in, at the model's rate."""

    @abstractmethod
    def push(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel out_sample"]:
        """The estimates that are ready now, none or more samples.

        Raises SignalError for samples that are not numbers, before they reach what is kept.
        """

    @abstractmethod
    def flush(self) -> Float[Tensor, "batch source channel out_sample"]:
        """The rest, as if silence followed; the session begins anew afterwards."""
