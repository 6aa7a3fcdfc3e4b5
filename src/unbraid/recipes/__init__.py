"""Recipes: functions that return a `TrainingConfig`, by the name that `unbraid train` takes."""

from __future__ import annotations

from collections.abc import Callable

from unbraid.recipes.speech import s4m_tiny_16k, speech
from unbraid.training.config import TrainingConfig

RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    "speech": speech,
    "s4m-tiny-16k": s4m_tiny_16k,
}
