"""What is made of the model's estimates before they are given out: sums that fit the mixture, and pairs of stems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.errors import ConfigError, UnknownNameError

Consistency = Literal["none", "residual", "distribute"]
OtherMethod = Literal["none", "add", "minus"]


@dataclass(frozen=True, kw_only=True)
class StemPlan:
    """From estimates and mixture to the stems that the user asked for, sample by sample."""

    sources: tuple[str, ...]
    """What the model gives."""

    consistency: Consistency = "none"
    """`distribute` spreads what is missing evenly over the estimates so that they add up to the mixture; `residual`
    gives it out as a stem of its own."""

    two_stems: str | None = None
    """This source and one stem with all the rest."""

    other_method: OtherMethod = "add"
    """The rest is the sum of the other estimates (`add`, stem `no_X`), the mixture minus X (`minus`, stem `minus_X`),
    or left out (`none`)."""

    def __post_init__(self) -> None:
        if self.two_stems is not None and self.two_stems not in self.sources:
            raise UnknownNameError(f"the model has no stem '{self.two_stems}'; it has: {', '.join(self.sources)}")

    @property
    def needs_mixture(self) -> bool:
        return self.consistency != "none" or (self.two_stems is not None and self.other_method == "minus")

    @property
    def names(self) -> tuple[str, ...]:
        names = self.sources
        if self.two_stems is not None:
            other = {"none": (), "add": (f"no_{self.two_stems}",), "minus": (f"minus_{self.two_stems}",)}
            names = (self.two_stems, *other[self.other_method])
        return (*names, "residual") if self.consistency == "residual" else names

    def apply(self, estimates: np.ndarray, mixture: np.ndarray | None) -> np.ndarray:
        """Stems (stem, channel, sample) from estimates (source, channel, sample) and mixture (channel, sample)."""
        if self.needs_mixture and mixture is None:
            raise ConfigError("these stems need the mixture beside the estimates")
        residual = None
        if self.consistency != "none":
            residual = mixture - estimates.sum(axis=0)
            if self.consistency == "distribute":
                estimates = estimates + residual / len(self.sources)
        stems = estimates
        if self.two_stems is not None:
            index = self.sources.index(self.two_stems)
            chosen = estimates[index : index + 1]
            rest = {
                "none": lambda: chosen[:0],
                "add": lambda: (estimates.sum(axis=0) - chosen[0])[None],
                "minus": lambda: (mixture - chosen[0])[None],
            }
            stems = np.concatenate([chosen, rest[self.other_method]()])
        if self.consistency == "residual":
            assert residual is not None
            stems = np.concatenate([stems, residual[None]])
        return stems.astype(np.float32, copy=False)
