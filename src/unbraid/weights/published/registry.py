"""What can be had by a short name: the facts in registry.toml, read without importing torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from unbraid.errors import MissingExtraError
from unbraid.weights.published.catalogues import CatalogueEntry, find_entry, is_of_catalogue
from unbraid.weights.references import Reference, parse_reference

Task = Literal["speech", "music", "film"]
_HUB = {"huggingface-hub": "huggingface_hub"}
_PACKAGES = {"hub": _HUB, "zoo": {**_HUB, "demucs": "demucs", "pymss-core": "pymss_core"}}
"""What an extra brings, and by which name that is imported."""
_FILE = Path(__file__).with_name("registry.toml")

ALIASES = {"music-best": "sfc-music-medium", "film-best": "sfc-film-medium"}
"""Names by purpose; the best that states a licence and that our own code runs."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure as it was published."""

    measure: str
    value: float
    unit: str
    data: str
    source: str


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A model that can be downloaded."""

    name: str
    title: str
    task: Task
    stems: tuple[str, ...]
    rate: int
    """Hz."""
    channels: int
    source: tuple[str, ...]
    """References to its files."""
    credits: str
    size_mb: int | None = None
    cpu_seconds: float | None = None
    """Of one core per second of audio; measured by us, with random weights."""
    licence: str | None = None
    """None: its authors state none."""
    scores: tuple[Score, ...] = ()
    needs: Literal["hub", "zoo"] | None = None
    """The extra without which it cannot be used."""
    sha256: tuple[tuple[str, str], ...] = ()
    """Hashes of files that are pinned."""

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(parse_reference(text) for text in self.source)


@cache
def published_models() -> dict[str, PublishedModel]:
    """All of them by name, in the order of the file."""
    entries = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: _model(name, entry) for name, entry in entries.items()}


def published_names() -> tuple[str, ...]:
    return (*published_models(), *ALIASES)


def find_published(name: str) -> PublishedModel | None:
    """A model by its name, by what it is best for, or of another package's catalogue."""
    if is_of_catalogue(name):
        return _of_catalogue(find_entry(name))
    return published_models().get(ALIASES.get(name, name))


def missing_extra(model: PublishedModel) -> MissingExtraError | None:
    """What has to be installed before a model can be used, said before anything of it is fetched."""
    if model.needs is None:
        return None
    for package, module in _PACKAGES[model.needs].items():
        if find_spec(module) is None:
            return MissingExtraError(package, model.needs, f"the model '{model.name}'")
    return None


def _of_catalogue(entry: CatalogueEntry) -> PublishedModel:
    """Catalogues state no licences, and the stems stand in the files."""
    return PublishedModel(
        name=entry.name,
        title=entry.title,
        task="music",
        stems=(),
        rate=44_100,
        channels=2,
        source=entry.source,
        credits="whoever published it",
        size_mb=entry.size_mb,
        needs="zoo",
    )


def _model(name: str, entry: dict) -> PublishedModel:
    values = dict(entry)
    for key in ("stems", "source"):
        values[key] = tuple(values[key])
    values["scores"] = tuple(Score(**score) for score in values.get("scores", ()))
    values["sha256"] = tuple(sorted(values.get("sha256", {}).items()))
    return PublishedModel(name=name, **values)
