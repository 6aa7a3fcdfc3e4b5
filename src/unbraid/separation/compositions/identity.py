"""What a model, or several as one, is called and recognised by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from unbraid.separation.compositions.syntax import is_composition, model_names, parse_composition, title_of
from unbraid.weights.store import inspect_model


def named_models(source: str) -> tuple[str, ...]:
    """The models that a name stands for: itself, or those of a composition."""
    return model_names(parse_composition(source)) if is_composition(source) else (source,)


def identify(source: str | Path) -> tuple[str, str]:
    """Name and hash, read without loading weights; the hash of a composition is over its text and its models'."""
    if not (isinstance(source, str) and is_composition(source)):
        stored = inspect_model(source)
        return stored.name, stored.sha256
    composition = parse_composition(source)
    hashes = [inspect_model(name).sha256 for name in model_names(composition)]
    return title_of(composition), hashlib.sha256(json.dumps([str(composition), *hashes]).encode()).hexdigest()
