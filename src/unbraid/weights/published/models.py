"""Published models as a user meets them: which there are, which of them are here, and bringing and removing them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from unbraid.errors import UnknownNameError, did_you_mean
from unbraid.files.cache import cache_folder
from unbraid.weights.published.catalogues import PREFIXES, list_entries
from unbraid.weights.published.hub import remove_from_cache
from unbraid.weights.published.locate import LocalModel, find_downloaded, find_elsewhere
from unbraid.weights.published.lock import forget_source
from unbraid.weights.published.registry import (
    ALIASES,
    PublishedModel,
    find_published,
    published_models,
    published_names,
)
from unbraid.weights.published.web import cached_file
from unbraid.weights.references import HubReference, Reference, WebReference, is_reference, parse_reference

State = Literal["downloaded", "can be downloaded"]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A published model and whether it is on this machine."""

    model: PublishedModel
    state: State
    also: tuple[str, ...]
    """Other names for it."""


def list_offers(task: str | None = None) -> list[Offer]:
    """All published models, or those for a task; the network is not asked."""
    return [_offer(model) for model in published_models().values() if task is None or model.task == task]


def published_entries(task: str | None = None) -> list[dict[str, Any]]:
    """All published models as data, with their state."""
    return [_entry(offer) for offer in list_offers(task)]


def published_entry(name: str) -> dict[str, Any] | None:
    """One of them by any of its names."""
    published = find_published(name)
    return None if published is None else _entry(_offer(published))


def catalogue_names() -> list[str]:
    """Models of other packages' catalogues, where those are installed."""
    return sorted({entry.name for prefix in PREFIXES for entry in list_entries(prefix).values()})


def _offer(model: PublishedModel) -> Offer:
    return Offer(
        model=model,
        state="downloaded" if find_downloaded(model.name) else "can be downloaded",
        also=tuple(alias for alias, target in ALIASES.items() if target == model.name),
    )


def _entry(offer: Offer) -> dict[str, Any]:
    return {**asdict(offer.model), "sha256": dict(offer.model.sha256), "also": offer.also, "state": offer.state}


def download(name: str) -> Path:
    """The file of ours that a published name or a reference becomes, fetched where it is not here."""
    path = find_elsewhere(name)
    if path is None:
        if near := did_you_mean(name, published_names()):
            raise UnknownNameError(f"there is no published model '{name}'", remedy=near)
        raise UnknownNameError(
            f"there is no published model '{name}'; there are: {', '.join(published_names())}, and "
            "hf:owner/name and pymss:NAME"
        )
    return path


def places(name: str) -> list[Path]:
    """Where a model is on this machine: the file that is loaded, and the files that it was made from."""
    local = find_downloaded(name)
    if local is None:
        return []
    from unbraid.weights.conversion import conversion_path

    loaded = conversion_path(local.files, local.root)
    originals = [local.root / file for file in local.files.files]
    return list(dict.fromkeys(path for path in (loaded, *originals) if path.is_file()))


def remove(name: str) -> int:
    """Deletes what was downloaded for a name and what was made of it; how many bytes that freed."""
    local = find_downloaded(name)
    references = _references(name)
    if local is None or not references:
        near = None if name in published_names() else did_you_mean(name, published_names())
        raise UnknownNameError(f"nothing was downloaded for '{name}'", remedy=near or "")
    freed = _remove_converted(local)
    for reference in references:
        freed += _remove_source(reference, local.files.files)
    return freed


def _references(name: str) -> Sequence[Reference]:
    if published := find_published(name):
        return published.references
    return (parse_reference(name),) if is_reference(name) else ()


def _remove_converted(local: LocalModel) -> int:
    from unbraid.weights.conversion import conversion_path

    path = conversion_path(local.files, local.root)
    if not path.is_file() or not path.is_relative_to(cache_folder()):
        return 0
    size = path.stat().st_size
    path.unlink()
    return size


def _remove_source(reference: Reference, files: Sequence[str]) -> int:
    if isinstance(reference, HubReference):
        freed = remove_from_cache(reference, files)
        forget_source(reference.key)
        return freed
    assert isinstance(reference, WebReference)
    path = cached_file(reference)
    if path is None:
        return 0
    size = path.stat().st_size
    shutil.rmtree(path.parent)
    forget_source(reference.url)
    return size
