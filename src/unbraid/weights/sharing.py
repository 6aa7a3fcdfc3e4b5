"""A model and its card in a folder, as a repository of the hub holds them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from os import PathLike, fspath
from pathlib import Path

from unbraid.errors import WeightsError
from unbraid.files.pending import writing_to
from unbraid.models.contract import SeparationModel
from unbraid.weights.references import HubReference, is_reference, parse_reference
from unbraid.weights.settings import read_text
from unbraid.weights.store import PRETRAINED, StoredModel, bundled_models, inspect_model, load_model, save_model

WEIGHTS, CARD = "model.safetensors", "README.md"


def write_repository(source: str | Path, folder: Path, card: Path | None = None) -> StoredModel:
    """Writes the files for any name of a model; the card is that given, the model's own, or a short one."""
    stored = inspect_model(source)
    if card is not None and not card.is_file():
        raise WeightsError(f"there is no card {card}", remedy="check its name")
    own = PRETRAINED / f"{source}.md"
    text = read_text(card) if card else read_text(own) if own.is_file() else short_card(stored)
    with writing_to(f"'{folder}'"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stored.path, folder / WEIGHTS)
        (folder / CARD).write_text(_with_front_matter(text, stored), encoding="utf-8")
        (folder / "config.json").write_text(_config(stored), encoding="utf-8")
    return stored


def load_shared(source: str | PathLike[str], revision: str | None, kind: type[SeparationModel]) -> SeparationModel:
    """A model of a repository, a folder, or any name of a model; it must be of `kind`."""
    text = fspath(source)
    there = Path(text).exists() or text in bundled_models() or is_reference(text)
    if not there and text.count("/") == 1:
        text = f"hf:{text}"
    if revision is not None:
        text = str(replace_revision(text, revision))
    model = load_model(text)
    if not isinstance(model, kind):
        raise TypeError(
            f"{text} holds a {type(model).__name__}, not a {kind.__name__}: load it with {type(model).__name__}"
        )
    return model


def replace_revision(text: str, revision: str) -> HubReference:
    reference = parse_reference(text)
    if not isinstance(reference, HubReference):
        raise WeightsError(f"{text} has no revisions: only repositories of the hub do")
    return replace(reference, revision=revision)


def save_shared(model: SeparationModel, folder: str | PathLike[str], name: str | None) -> None:
    """A model in memory as a repository in a folder."""
    place = Path(folder)
    with writing_to(f"'{place}'"):
        place.mkdir(parents=True, exist_ok=True)
        path = save_model(model, place / WEIGHTS, name=name or place.resolve().name)
    stored = inspect_model(path)
    with writing_to(f"'{place}'"):
        (place / CARD).write_text(_with_front_matter(short_card(stored), stored), encoding="utf-8")
        (place / "config.json").write_text(_config(stored), encoding="utf-8")


def short_card(stored: StoredModel) -> str:
    """What the weights file says of itself, in prose."""
    spec, facts = stored.spec, stored.facts
    lines = [
        f"# {stored.name}",
        "",
        f"Separates recordings into {', '.join(spec.sources)}: {spec.sample_rate} Hz, {spec.num_channels} channel(s), "
        f"architecture {stored.architecture}.",
        "",
        *(f"* {name}: {value}" for name, value in facts.items()),
    ]
    return "\n".join(lines) + "\n"


def _config(stored: StoredModel) -> str:
    """By this file the hub counts downloads."""
    config = {"library_name": "unbraid", "architecture": stored.architecture, "spec": asdict(stored.spec)}
    return json.dumps(config, indent=2) + "\n"


def _with_front_matter(text: str, stored: StoredModel) -> str:
    """The hub finds a model by tags at the top of its card; a card that has some keeps them."""
    if text.startswith("---"):
        return text
    licence = stored.facts.get("licence")
    lines = ["library_name: unbraid", "pipeline_tag: audio-to-audio", "tags: [source-separation, unbraid]"]
    if isinstance(licence, str) and licence and licence != "none stated":
        lines.append(f"license: {licence.lower()}")
    return "---\n" + "\n".join(lines) + "\n---\n\n" + text
