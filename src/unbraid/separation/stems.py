"""What is made of the model's estimates before they are given out: sums that fit the mixture, pairs, and remixes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from unbraid.errors import ConfigError, UnknownNameError

Consistency = Literal["none", "residual", "distribute"]
OtherMethod = Literal["none", "add", "minus"]

_MOST_GAIN_DB = 40.0
"""ours: what is asked for beyond this is a slip of the hand, and hurts ears."""


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

    remix: Mapping[str, float] = field(default_factory=dict)
    """By source, a gain in dB, -inf to take it out: one more stem, `remix`, is the mixture with these sources so much
    louder or softer. Where every gain is 0 dB it is the mixture itself, whatever the model missed."""

    def __post_init__(self) -> None:
        for name in (*([] if self.two_stems is None else [self.two_stems]), *self.remix):
            if name not in self.sources:
                raise UnknownNameError(f"the model has no stem '{name}'; it has: {', '.join(self.sources)}")
        for name, gain_db in self.remix.items():
            if math.isnan(gain_db) or gain_db > _MOST_GAIN_DB:
                raise ConfigError(f"remix: the gain of {name} is at most {_MOST_GAIN_DB:g} dB, not {gain_db:g}")

    @property
    def needs_mixture(self) -> bool:
        minus = self.two_stems is not None and self.other_method == "minus"
        return self.consistency != "none" or minus or bool(self.remix)

    @property
    def names(self) -> tuple[str, ...]:
        names = self.sources
        if self.two_stems is not None:
            other = {"none": (), "add": (f"no_{self.two_stems}",), "minus": (f"minus_{self.two_stems}",)}
            names = (self.two_stems, *other[self.other_method])
        if self.consistency == "residual":
            names = (*names, "residual")
        return (*names, "remix") if self.remix else names

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
        if self.remix:
            assert mixture is not None
            changes = [
                np.float32(10 ** (gain_db / 20) - 1) * estimates[self.sources.index(name)]
                for name, gain_db in self.remix.items()
            ]
            stems = np.concatenate([stems, sum(changes, mixture)[None]])
        return stems.astype(np.float32, copy=False)


def parse_remix(texts: Sequence[str]) -> dict[str, float]:
    """Gains in dB by source of "dialogue=+6,music=off"; "off" takes a source out."""
    gains: dict[str, float] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        amount = value.lower().removesuffix("db").strip()
        try:
            gains[name] = -math.inf if amount == "off" else float(amount)
        except ValueError:
            separator = ""
        if not separator or not name:
            raise ConfigError(
                "is not a gain",
                subject=f"`remix` {part.strip()}",
                remedy="write it as in `remix=dialogue=+6,music=off`",
            )
    return gains
