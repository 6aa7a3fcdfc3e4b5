"""Which models the page offers: those on this machine, and published ones; no other name is a path or an address."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbraid.errors import UnbraidError, UnknownNameError
from unbraid.models.contract import ModelSpec
from unbraid.separation.choice import choose_model
from unbraid.separation.compositions.composite import build_composite
from unbraid.separation.compositions.syntax import (
    Blend,
    Chain,
    Composition,
    OneModel,
    is_composition,
    model_names,
    parse_composition,
)
from unbraid.separation.detector import detect
from unbraid.weights.listing import bundled_entry, bundled_models
from unbraid.weights.published.locate import find_downloaded
from unbraid.weights.published.registry import PublishedModel, published_models
from unbraid.weights.store import inspect_model

AUTO = "auto"
"""Stands for the best model here for what a recording sounds like."""

_FRESH_SECONDS = 30.0
_TITLES = {
    "speech": "Two people talking",
    "speech-noisy": "Two people in a noisy place",
    "cinematic": "Film, series or podcast",
    "music": "Song",
}


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """A model that can be chosen."""

    name: str
    title: str
    sources: tuple[str, ...]
    sample_rate: int
    """Hz; stems hold nothing above half of it. 0 for what is no model itself."""
    num_channels: int
    source: str | None = None
    """What loads it, where that is not its name."""
    published: PublishedModel | None = None
    """What is known of one that does not come with unbraid."""


_AUTO = ModelChoice(name=AUTO, title="Not sure? It is listened to first", sources=(), sample_rate=0, num_channels=0)


class ModelChoices:
    """The lists, looked up anew now and then, because models come and go while the server runs."""

    def __init__(self, bundled: Sequence[ModelChoice] | None = None) -> None:
        self._bundled = bundled
        self._lock = threading.Lock()
        self._here: dict[str, ModelChoice] = {}
        self._elsewhere: dict[str, ModelChoice] = {}
        self._looked = -_FRESH_SECONDS

    def all(self) -> list[ModelChoice]:
        """Those that a recording can go to."""
        with self._lock:
            self._look()
            return list(self._here.values())

    def offers(self) -> list[ModelChoice]:
        """Published ones that are not on this machine."""
        with self._lock:
            self._look()
            return list(self._elsewhere.values())

    def forget(self) -> None:
        """The next look finds what has just come."""
        with self._lock:
            self._looked = -_FRESH_SECONDS

    def _look(self) -> None:
        if time.monotonic() - self._looked < _FRESH_SECONDS:
            return
        bundled = _bundled() if self._bundled is None else self._bundled
        published = {name: _published(model) for name, model in published_models().items()}
        there = {name for name in published if _is_here(name)}
        downloaded = [choice for name, choice in published.items() if name in there]
        self._here = {choice.name: choice for choice in (*bundled, *downloaded, _AUTO)}
        self._elsewhere = {name: choice for name, choice in published.items() if name not in self._here}
        self._looked = time.monotonic()

    def hear(self, path: Path, name: str) -> str:
        """The model for the recording in a file, which messages call `name`; raises UnknownNameError without one."""
        choice = choose_model(detect(path).kind or "talk")
        if choice.name is None:
            raise choice.missing(f"'{name}'")
        return self.get(choice.name).name

    def get(self, name: str) -> ModelChoice:
        """One of the list, or several of them as one ("a+b"); raises UnknownNameError for any other."""
        choices = {choice.name: choice for choice in self.all()}
        if name not in choices and is_composition(name):
            return self._composed(name)
        if any(offer.name == name for offer in self.offers()):
            raise UnknownNameError(
                "is not on this machine",
                subject=f"the model '{name}'",
                remedy=f"download it first, on the page or with  unbraid models download {name}",
            )
        if name not in choices:
            raise UnknownNameError(f"there is no model '{name}' here; there are: {', '.join(choices)}")
        return choices[name]

    def _composed(self, name: str) -> ModelChoice:
        composition = parse_composition(name)
        sources = {one: self.get(one).source or one for one in model_names(composition) if one != AUTO}
        if AUTO in model_names(composition):
            raise UnknownNameError(f"'{AUTO}' is no part of several models as one: name each of them")
        spec = _spec_of(composition, sources)
        return ModelChoice(
            name=name,
            title=name,
            sources=spec.sources,
            sample_rate=spec.sample_rate,
            num_channels=spec.num_channels,
            source=str(_renamed(composition, sources)),
        )


@dataclass(frozen=True)
class _Planned:
    """Stands for a model of which only the spec is read."""

    spec: ModelSpec

    def stream(self, source, *, scratch=None):
        raise NotImplementedError


def _spec_of(composition: Composition, sources: dict[str, str]) -> ModelSpec:
    """What several models give as one, without loading weights."""
    if isinstance(composition, OneModel):
        return inspect_model(sources[composition.name]).spec
    return build_composite(composition, lambda one: _Planned(_spec_of(one, sources))).spec


def _renamed(composition: Composition, sources: dict[str, str]) -> Composition:
    """The same of what the models are loaded from."""
    match composition:
        case OneModel():
            return OneModel(sources[composition.name])
        case Blend():
            return replace(composition, members=tuple(_renamed(one, sources) for one in composition.members))
        case Chain():
            steps = tuple(replace(step, model=_renamed(step.model, sources)) for step in composition.steps)
            return replace(composition, steps=steps)


def _bundled() -> list[ModelChoice]:
    choices = []
    for name in bundled_models():
        entry = bundled_entry(name)
        choices.append(
            ModelChoice(
                name=name,
                title=_TITLES.get(name, name),
                sources=tuple(entry["sources"]),
                sample_rate=entry["sample_rate"],
                num_channels=entry["num_channels"],
            )
        )
    order = list(_TITLES)
    return sorted(choices, key=lambda choice: order.index(choice.name) if choice.name in order else len(order))


def _published(model: PublishedModel) -> ModelChoice:
    return ModelChoice(
        name=model.name,
        title=model.title,
        sources=model.stems,
        sample_rate=model.rate,
        num_channels=model.channels,
        published=model,
    )


def _is_here(name: str) -> bool:
    try:
        return find_downloaded(name) is not None
    except (UnbraidError, OSError, ValueError):
        return False
