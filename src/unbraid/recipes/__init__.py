"""Recipes: functions that return a `TrainingConfig`, by the name that `unbraid train` takes."""

from __future__ import annotations

from unbraid.recipes.cinematic import CINEMATIC
from unbraid.recipes.mtfa import MTFA
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.sfc import SFC
from unbraid.recipes.sfsrnet import SFSRNET
from unbraid.recipes.speech import SPEECH
from unbraid.recipes.speech_comparison import SPEECH_COMPARISON
from unbraid.recipes.super_resolution import SUPER_RESOLUTION

RECIPES: dict[str, Recipe] = {
    **SPEECH,
    **SPEECH_COMPARISON,
    **CINEMATIC,
    **SFC,
    **MTFA,
    **SFSRNET,
    **SUPER_RESOLUTION,
}
"""Every recipe by name; a module of recipes adds its own dict here."""
