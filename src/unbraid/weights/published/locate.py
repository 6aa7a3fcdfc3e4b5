"""From whatever names a model to a file of ours on this machine.

Names are, in this order: a path of a file or folder, a bundled model, a published model (`registry.toml`), and a
reference to the hub or to an address. What lies elsewhere is fetched once, and foreign models are converted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from unbraid.errors import ConfigError, WeightsError
from unbraid.weights.published.catalogues import find_entry, is_of_catalogue
from unbraid.weights.published.folders import ModelFiles, find_model, find_models, paths_below
from unbraid.weights.published.hub import cached_snapshot, fetch_from_hub
from unbraid.weights.published.registry import PublishedModel, find_published, missing_extra
from unbraid.weights.published.web import cached_file, fetch_file
from unbraid.weights.references import HubReference, Reference, WebReference, is_reference, parse_reference

_AGREED: set[str] = set()
_WEIGHTS = (".safetensors", ".ckpt", ".pth", ".pt", ".th", ".chpt")


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """Files of a model on this machine, as they were published."""

    files: ModelFiles
    root: Path
    name: str
    facts: dict[str, object]


def find_elsewhere(name: str) -> Path | None:
    """The file behind a folder, a foreign file, a published name or a reference; None for any other name.

    Fetches what is missing, and converts what is foreign.
    """
    from unbraid.weights.conversion import converted

    local = _local(name, fetch=True)
    if local is None:
        return None
    return converted(local.files, local.root, local.name, local.facts)


def find_downloaded(name: str) -> LocalModel | None:
    """Such a model where it is on this machine already; the network is not asked."""
    return _local(name, fetch=False)


def is_foreign_file(path: Path) -> bool:
    """Whether a file of weights is of another project; one that cannot be read is left to whoever reads it."""
    if path.suffix != ".safetensors":
        return path.is_file() and path.suffix in _WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        return False
    return "unbraid" not in metadata and path.is_file()


def _local(name: str, *, fetch: bool) -> LocalModel | None:
    path = Path(name)
    if path.is_dir():
        return _folder(path, name)
    if is_foreign_file(path):
        return _file(path)
    if is_of_catalogue(name) and (kept := _kept_by_package(name)):
        return kept
    if published := find_published(name):
        return _published(published, fetch=fetch)
    if is_reference(name):
        reference = parse_reference(name)
        return _fetched((reference,), _short_name(reference), {"source": str(reference)}, {}, fetch=fetch)
    return None


def _folder(path: Path, subject: str, wanted: str | None = None) -> LocalModel:
    model = find_model(paths_below(path), wanted, subject)
    name = (path / model.place).resolve().name if model.place else path.resolve().name
    return LocalModel(files=model, root=path, name=name, facts={"source": str(path.resolve())})


def _file(path: Path) -> LocalModel:
    """A file, with the settings beside it that belong to it."""
    beside = tuple(sorted(other.name for other in path.parent.iterdir() if other.is_file()))
    models = find_models([name for name in beside if name == path.name or name.endswith((".yaml", ".yml"))])
    model = next((model for model in models if path.name in model.files), None)
    if model is None or model.kind == "sfc":
        model = ModelFiles(kind="weights", place=path.name, files=(path.name,))
    return LocalModel(files=model, root=path.parent, name=path.stem, facts={"source": str(path.resolve())})


def _kept_by_package(name: str) -> LocalModel | None:
    """A model that its own package has downloaded."""
    entry = find_entry(name)
    if entry.folder is None or not (entry.folder / entry.file).is_file():
        return None
    model = _file(entry.folder / entry.file)
    return model if model.files.kind == "settings" else None


def agree_to(name: str) -> None:
    """The user may use a published model whose authors state no licence; holds for this process."""
    _AGREED.add(name)


def _published(model: PublishedModel, *, fetch: bool) -> LocalModel | None:
    if fetch and (here := _published(model, fetch=False)) is not None:
        return here
    if fetch and (missing := missing_extra(model)) is not None:
        raise missing
    if fetch and model.licence is None and model.name not in _AGREED:
        raise ConfigError(
            f"the authors of '{model.name}' state no licence, so you may have no right to use it",
            remedy=f"if you have, say so with  `agree_to={model.name}`",
        )
    facts: dict[str, object] = {
        "source": list(model.source),
        "title": model.title,
        "licence": model.licence or "none stated",
        "credits": model.credits,
    }
    return _fetched(model.references, model.name.rpartition(":")[2], facts, dict(model.sha256), fetch=fetch)


def _fetched(
    references: Sequence[Reference], name: str, facts: dict[str, object], pinned: dict[str, str], *, fetch: bool
) -> LocalModel | None:
    if len(references) == 1 and isinstance(reference := references[0], HubReference):
        return _from_hub(reference, name, facts, pinned, fetch=fetch)
    files = [file for reference in references if (file := _web(reference, fetch=fetch)) is not None]
    if len(files) < len(references):
        return None
    if len(files) == 1:
        return _renamed(_file(files[0]), name, facts)
    weights, settings = sorted(files, key=lambda file: file.suffix in (".yaml", ".yml"))
    root = weights.parents[1]
    names = (weights.relative_to(root).as_posix(), settings.relative_to(root).as_posix())
    return LocalModel(files=ModelFiles(kind="settings", place=name, files=names), root=root, name=name, facts=facts)


def _from_hub(
    reference: HubReference, name: str, facts: dict[str, object], pinned: dict[str, str], *, fetch: bool
) -> LocalModel | None:
    chosen: list[ModelFiles] = []

    def choose(paths: Sequence[str]) -> Sequence[str]:
        chosen[:] = [find_model(paths, reference.path, str(reference))]
        return chosen[0].files

    snapshot = fetch_from_hub(reference, choose, pinned) if fetch else cached_snapshot(reference, choose)
    if snapshot is None:
        return None
    facts = {**facts, "commit": snapshot.commit}
    return LocalModel(files=chosen[0], root=snapshot.root, name=name, facts=facts)


def _web(reference: Reference, *, fetch: bool) -> Path | None:
    if not isinstance(reference, WebReference):
        raise WeightsError("a model of several references lies behind addresses, not in several repositories")
    return fetch_file(reference) if fetch else cached_file(reference)


def _renamed(model: LocalModel, name: str, facts: dict[str, object]) -> LocalModel:
    return LocalModel(files=model.files, root=model.root, name=name, facts=facts)


def _short_name(reference: Reference) -> str:
    if isinstance(reference, WebReference):
        return Path(reference.file_name).stem
    return (reference.path or reference.repository).rsplit("/", 1)[-1].removesuffix(".safetensors")
