"""What a recipe is: a training run by a name, and what the listing says of it."""

from __future__ import annotations

from dataclasses import dataclass

from unbraid.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run that can be asked for by name, which is that of its config."""

    config: TrainingConfig

    model: str
    """The model in a few words."""

    data: str
    """What the data set is to be."""

    row: str
    """Which row of which paper's table this is, with its figure; or what it is for."""
