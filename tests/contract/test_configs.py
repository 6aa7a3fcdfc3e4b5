"""Every config of the package refuses what it does not allow, in one sentence, where it is made."""

from __future__ import annotations

import importlib
import math
import pkgutil
import types
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

import unbraid
from unbraid.errors import ConfigError
from unbraid.losses.weighted import LossTerm
from unbraid.models.contract import ModelSpec
from unbraid.models.ensemble.model import EnsembleConfig
from unbraid.models.mtfa.model import MTFAConfig
from unbraid.models.resunet.model import ResUNetConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.options import Range, allowed_values
from unbraid.training.config import TrainingConfig

ROOMS = ("layers", "models", "losses", "training.config", "training.optimisation", "data.mixing", "data.augment")
MADE: dict[type, Any] = {
    ModelSpec: ModelSpec(
        sample_rate=8000, num_channels=1, sources=("speaker1", "speaker2"), exchangeable=True, chunk_seconds=4.0
    ),
    LossTerm: LossTerm(name="snr"),
    EnsembleConfig: EnsembleConfig(members=(S4MConfig(),), weights=((1.0, 1.0),)),
    TrainingConfig: TrainingConfig(name="run", model=S4MConfig()),
}
"""One of each config that has no default for every field."""


def configs() -> list[type]:
    """Every frozen, keyword-only dataclass of the rooms that hold settings, and whatever else is called a config."""
    found: set[type] = set()
    for module in pkgutil.walk_packages(unbraid.__path__, "unbraid."):
        room = module.name.removeprefix("unbraid.")
        # The kernel for GPUs needs Triton, which is there where a GPU is, and holds no config.
        if module.name.endswith(("__main__", "triton_scan")) or room.startswith(("cli", "web")):
            continue
        for one in vars(importlib.import_module(module.name)).values():
            if not isinstance(one, type) or not is_dataclass(one) or one.__module__ != module.name:
                continue
            is_settings = room.startswith(ROOMS) and all(field.kw_only for field in fields(one))
            if is_settings or one.__name__.endswith("Config"):
                found.add(one)
    return sorted(found, key=lambda one: one.__name__)


def check(config_class: type, **values: object) -> None:
    """Checks settings as a user's Python does: the test run's own check of types stands before __init__ only."""
    changed = copy(MADE[config_class]) if config_class in MADE else config_class()
    changed = copy(changed)
    for name, value in values.items():
        object.__setattr__(changed, name, value)
    changed.__post_init__()


def wrong_values(annotation: object) -> Iterator[object]:
    """Values just outside of what an annotation allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield f"{arguments[0]}-misspelt"
    elif origin in (Union, types.UnionType):
        for choice in arguments:
            yield from wrong_values(choice)
    elif origin is tuple and arguments:
        yield from ((value,) for value in wrong_values(arguments[0]))
        yield "a text"
    elif origin is Annotated:
        yield from wrong_values(arguments[0])
        for bound in arguments[1:]:
            if isinstance(bound, Range):
                yield from (limit - 1 for limit in (bound.at_least, bound.above) if limit is not None)
                yield from (limit + 1 for limit in (bound.at_most, bound.below) if limit is not None)
                yield from (kind for kind in (bound.above, bound.below) if kind is not None)
    elif annotation is float:
        yield from (math.nan, math.inf, -math.inf, "a text")
    elif annotation is int:
        yield from (math.nan, 2.5, "a number")
    elif annotation is bool:
        yield "a text"


def has_bounds(annotation: object) -> bool:
    """Whether every whole number in an annotation says what it may be."""
    if get_origin(annotation) is Annotated:
        return True
    return annotation is not int and all(map(has_bounds, get_args(annotation)))


@pytest.mark.parametrize("config_class", configs(), ids=lambda one: one.__name__)
def test_a_config_refuses_what_it_does_not_allow(config_class: type) -> None:
    assert hasattr(config_class, "__post_init__"), "call check_options(self) there"
    for name, annotation in allowed_values(config_class).items():
        assert has_bounds(annotation), f"{name}: whole numbers carry a Range, such as PositiveInt"
        for value in wrong_values(annotation):
            with pytest.raises(ConfigError, match=name):
                check(config_class, **{name: value})


@pytest.mark.parametrize(
    ("config_class", "values"),
    [
        (S4MConfig, {"fusion": "i+1"}),
        (S4MConfig, {"hidden_dim": -4}),
        (ResUNetConfig, {"level": "as_given"}),
        (ResUNetConfig, {"head": "cIRM"}),
        (MTFAConfig, {"places": ("E9",)}),
        (SuperResolutionConfig, {"heuristic": "estimate/mixture"}),
        (SuperResolutionConfig, {"correction": "phase"}),
        (SuperResolutionConfig, {"kernel_sizes": (5, 9, 0, 11)}),
        (CrossAttentionConfig, {"positional_bias": "learnable"}),
        (TrainingConfig, {"batch_size": -1}),
        (LossTerm, {"name": "multi-resolution-stft", "settings": {"compare": "phase"}}),
    ],
)
def test_words_that_once_ran_as_something_else(config_class: type, values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=" is "):
        check(config_class, **values)
