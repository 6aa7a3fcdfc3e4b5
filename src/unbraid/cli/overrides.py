"""Settings on the command line, key=value with dotted keys, put into frozen configs and checked by their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_args, get_type_hints

from unbraid.errors import ConfigError
from unbraid.files.json_text import JsonError, parse_json
from unbraid.options import why_invalid

Config = TypeVar("Config")


def apply_overrides(config: Config, items: Iterable[str]) -> Config:
    """A copy with every `a.b=value` of `items` set; what the config's own checks refuse is refused."""
    for item in items:
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {item} is not a setting", remedy="write it as in  --set steps=1000")
        config = _replaced(config, key.strip().split("."), text.strip(), item)
    return config


def _replaced(config: Any, path: list[str], text: str, item: str) -> Any:
    names = [field.name for field in fields(config)]
    name, *rest = path
    if name not in names:
        raise ConfigError(f"--set {item}: there is no setting '{name}' here; there are: {', '.join(names)}")
    current, kind = getattr(config, name), get_type_hints(type(config))[name]
    if isinstance(current, Mapping) and rest:
        return replace(config, **{name: _with_entry(current, name, rest, text, item)})
    groups: list[Any] = [choice for choice in (kind, *get_args(kind)) if is_dataclass(choice)]
    if current is None and rest and len(groups) == 1:
        current = groups[0]()  # a group that is off is switched on by any of its settings
    if is_dataclass(current) and (rest or text.lower() not in ("none", "null")):
        if not rest:
            return replace(config, **{name: _chosen(current, groups, name, text, item)})
        return replace(config, **{name: _replaced(current, rest, text, item)})
    if rest:
        raise ConfigError(f"--set {item}: '{name}' is a single value and has no '{'.'.join(rest)}'")
    return replace(config, **{name: _parsed(kind, text, item)})


def _with_entry(entries: Mapping[str, Any], name: str, path: list[str], text: str, item: str) -> dict[str, Any]:
    """A copy of groups that have names, such as a drawing for each source, with a setting of one of them."""
    entry, *rest = path
    if entry not in entries:
        whole = f'{item.partition("=")[0].split(f".{entry}")[0]}={{"{entry}": {{}}}}'
        remedy = f"choose one of {', '.join(entries)}" if entries else f"give all of it, as  --set '{whole}'"
        raise ConfigError(f"--set {item}: '{name}' has no '{entry}'", remedy=remedy)
    if not rest:
        return {**entries, entry: _chosen(entries[entry], [type(entries[entry])], entry, text, item)}
    return {**entries, entry: _replaced(entries[entry], rest, text, item)}


def _chosen(current: Any, groups: list[Any], name: str, text: str, item: str) -> Any:
    """Another group of settings, by the name of its class, with all its defaults."""
    by_name = {group.__name__: group for group in groups}
    if len(groups) > 1 and text in by_name:
        return by_name[text]()
    inside = ", ".join(f"{name}.{field.name}" for field in fields(current))
    choices = f", or choose one of {', '.join(by_name)}" if len(groups) > 1 else ""
    raise ConfigError(f"--set {item}: '{name}' is a group of settings", remedy=f"name one of {inside}{choices}")


def _parsed(kind: Any, text: str, item: str) -> Any:
    """The text as a value of the type: plain, as JSON, or as a list with commas."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(kind)
    # None comes first, for a setting of type str or None would take the word as text.
    candidates: list[Any] = [None, text] if text.lower() in ("none", "null") else [text]
    try:
        candidates.append(parse_json(text))
    except JsonError:
        parts = text.strip("()[] ").removesuffix(",")
        candidates.append([part.strip() for part in parts.split(",")] if parts else [])
    problem: Mapping[str, Any] = {}
    for candidate in candidates:
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            if candidate is text:
                problem = error.errors()[0]
    raise ConfigError(f"--set {item}: {why_invalid(problem)}")
