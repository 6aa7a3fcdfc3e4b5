"""How the learning rate goes over a run: one frozen value per form, each a share of the full rate at every step.

What depends on validation (halving on a plateau) is a factor on top, which `callbacks.patience.Plateau` keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unbraid.options import NonNegativeInt, PositiveInt, Range, Share, check_options


@dataclass(frozen=True, kw_only=True)
class Trapezoid:
    """ours: up, level, and a straight way down to zero at the end; a run stopped before that can be prolonged."""

    warmup_steps: NonNegativeInt = 500

    decay_share: Share = 0.2
    """Over this last share of all steps the rate goes down to zero."""

    def __post_init__(self) -> None:
        check_options(self)

    def share(self, step: int, steps: int) -> float:
        fall = (steps - step) / max(self.decay_share * steps, 1)
        return max(0.0, min(warmup(step, self.warmup_steps), fall, 1.0))


@dataclass(frozen=True, kw_only=True)
class WarmupDecay:
    """Up, level, and from a step on down by a factor every so many steps: SFC's schedule."""

    warmup_steps: NonNegativeInt = 5000

    decay_from: NonNegativeInt = 60_500
    """Step at which the decay begins."""

    decay_every: PositiveInt = 220
    """Steps between two factors."""

    decay_factor: Annotated[float, Range(above=0.0, at_most=1.0)] = 0.98

    def __post_init__(self) -> None:
        check_options(self)

    def share(self, step: int, steps: int) -> float:
        decays = max(0, (step - self.decay_from) // self.decay_every)
        return warmup(step, self.warmup_steps) * self.decay_factor**decays


@dataclass(frozen=True, kw_only=True)
class HalveOnPlateau:
    """Up, level, and multiplied by a factor whenever validation has not improved for a while: SepFormer and S4M."""

    warmup_steps: NonNegativeInt = 0

    hold_steps: NonNegativeInt = 0
    """Up to this step nothing is halved, and validations do not count; the first one that does comes after it."""

    patience: NonNegativeInt = 15
    """As many validations in a row without improvement are borne; the next one halves."""

    factor: Annotated[float, Range(above=0.0, below=1.0)] = 0.5

    def __post_init__(self) -> None:
        check_options(self)

    def share(self, step: int, steps: int) -> float:
        return warmup(step, self.warmup_steps)


Schedule = Trapezoid | WarmupDecay | HalveOnPlateau


def warmup(step: int, warmup_steps: int) -> float:
    """A straight way up that ends at 1 with the last of these steps."""
    return min(1.0, (step + 1) / max(warmup_steps, 1))
