"""Recipes: training runs as values, by the name that `unbraid train` takes; one module per paper."""

from __future__ import annotations

from unbraid.recipes.bundled import BUNDLED
from unbraid.recipes.mtfa import MTFA
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.s4m import S4M
from unbraid.recipes.sfc import SFC
from unbraid.recipes.sfsrnet import SFSRNET

RECIPES: dict[str, Recipe] = {recipe.config.name: recipe for recipe in (*BUNDLED, *S4M, *SFC, *MTFA, *SFSRNET)}
"""Every recipe by name; a module of recipes adds its own tuple here."""
