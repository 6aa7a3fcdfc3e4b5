"""What is made of the model's estimates before they are given out: sums that fit the mixture, pairs, and remixes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.separation.config import SeparationConfig


@dataclass(frozen=True, kw_only=True)
class StemPlan:
    """From estimates and mixture to the stems that the user asked for, sample by sample."""

    sources: tuple[str, ...]
    """What the model gives."""

    config: SeparationConfig = field(default_factory=SeparationConfig)
    """Of it, `consistency`, `two_stems`, `other_method` and `remix`."""

    def __post_init__(self) -> None:
        pair = [] if self.config.two_stems is None else [self.config.two_stems]
        for name in (*pair, *self.config.gains):
            if name not in self.sources:
                raise UnknownNameError(f"the model has no stem '{name}'; it has: {', '.join(self.sources)}")

    @property
    def needs_mixture(self) -> bool:
        config = self.config
        minus = config.two_stems is not None and config.other_method == "minus"
        return config.consistency != "none" or minus or bool(config.gains)

    @property
    def names(self) -> tuple[str, ...]:
        names, chosen = self.sources, self.config.two_stems
        if chosen is not None:
            other = {"none": (), "add": (f"no_{chosen}",), "minus": (f"minus_{chosen}",)}
            names = (chosen, *other[self.config.other_method])
        if self.config.consistency == "residual":
            names = (*names, "residual")
        return (*names, "remix") if self.config.gains else names

    def apply(self, estimates: np.ndarray, mixture: np.ndarray | None) -> np.ndarray:
        """Stems (stem, channel, sample) from estimates (source, channel, sample) and mixture (channel, sample)."""
        if self.needs_mixture and mixture is None:
            raise ConfigError("these stems need the mixture beside the estimates")
        config = self.config
        residual = None
        if config.consistency != "none":
            residual = mixture - estimates.sum(axis=0)
        if config.consistency == "distribute":
            assert residual is not None
            estimates = estimates + residual / len(self.sources)
        stems = estimates
        if config.two_stems is not None:
            index = self.sources.index(config.two_stems)
            chosen = estimates[index : index + 1]
            stems = np.concatenate([chosen, self._rest(chosen, estimates, mixture)])
        if config.consistency == "residual":
            assert residual is not None
            stems = np.concatenate([stems, residual[None]])
        if config.gains:
            assert mixture is not None
            changes = [
                np.float32(10 ** (gain_db / 20) - 1) * estimates[self.sources.index(name)]
                for name, gain_db in config.gains.items()
            ]
            stems = np.concatenate([stems, sum(changes, mixture)[None]])
        return stems.astype(np.float32, copy=False)

    def _rest(self, chosen: np.ndarray, estimates: np.ndarray, mixture: np.ndarray | None) -> np.ndarray:
        """What stands beside a chosen stem: one stem or none."""
        method = self.config.other_method
        if method == "none":
            return chosen[:0]
        # Where the residual has a stem of its own it is not in the rest as well, so that the stems add up.
        if method == "add" or self.config.consistency == "residual":
            return (estimates.sum(axis=0) - chosen[0])[None]
        assert mixture is not None
        return (mixture - chosen[0])[None]


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
