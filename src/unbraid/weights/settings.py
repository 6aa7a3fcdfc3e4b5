"""Settings of other projects' models, read from YAML and JSON without building anything that a file names.

Tuples are allowed, because configurations of RoFormers hold them; every other tag is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from unbraid.errors import MissingExtraError, WeightsError
from unbraid.files.json_text import JsonError, parse_json

_LARGEST_BYTES = 1 << 20
_MOST_DEPTH, _MOST_VALUES = 100, 1_000_000
"""ours: aliases that stand for lists of aliases make much of little; no settings are near either."""
_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+")


def read_settings(path: Path) -> dict[str, object]:
    """The mapping that a YAML or JSON file holds; raises WeightsError for anything else."""
    text = read_text(path)
    if path.suffix == ".json":
        try:
            settings = parse_json(text)
        except JsonError as error:
            raise WeightsError(f"is not JSON: {error}", subject=f"{path.name}") from error
    else:
        settings = _parse_yaml(text, path.name)
    if not isinstance(settings, dict):
        raise WeightsError("holds no settings by name", subject=f"{path.name}")
    return settings


def read_text(path: Path) -> str:
    """A small text file."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise WeightsError("has more than a megabyte, which settings never have", subject=f"{path.name}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"cannot be read as text: {error}", subject=f"{path.name}") from error


def mappings(settings: object) -> Iterator[dict[str, object]]:
    """Every mapping in settings, outermost first."""
    queue = [settings]
    while queue:
        value = queue.pop(0)
        if isinstance(value, dict):
            yield value
            queue += value.values()
        elif isinstance(value, list | tuple):
            queue += value


def _parse_yaml(text: str, name: str) -> object:
    if _bracket_depth(text) > _MOST_DEPTH:
        # The parser takes a third of a second for a thousand of them.
        raise WeightsError(f"is nested more than {_MOST_DEPTH} deep, and nothing like it is read", subject=name)
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "hub", "settings in YAML") from error

    class Loader(yaml.SafeLoader):
        """The safe loader, with tuples and numbers such as 1e-4, and a limit of depth."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > _MOST_DEPTH:
                raise yaml.YAMLError(f"it is nested more than {_MOST_DEPTH} deep")
            try:
                return super().compose_node(parent, index)
            finally:
                self.depth -= 1

    def read_tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple[object, ...]:
        return tuple(loader.construct_sequence(node, deep=True))  # type: ignore[arg-type]

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", read_tuple)
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))
    try:
        settings = yaml.load(text, Loader=Loader)
        if _size(settings, {}) > _MOST_VALUES:
            raise ValueError(f"with what its aliases stand for it has more than {_MOST_VALUES:,} values")
        return settings
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"holds more than plain settings, and nothing else is read: {reason}", subject=name
        ) from error


def _bracket_depth(text: str) -> int:
    """At most; brackets in words count as well, of which settings have few."""
    steps = (1 if letter in "[{" else -1 for letter in text if letter in "[{]}")
    return max(accumulate(steps, lambda depth, step: max(0, depth + step)), default=0)


def _size(value: object, known: dict[int, int]) -> int:
    """How many values it is, where each alias counts as all that it stands for."""
    if not isinstance(value, dict | list | tuple):
        return 1
    if known.get(id(value)) == 0:
        raise ValueError("a part of it contains itself")
    if id(value) not in known:
        known[id(value)] = 0
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inner)
    return known[id(value)]
