"""JSON from files that anybody may have written: bounded in depth and size, and asked for by type.

Whatever is wrong with it is a `JsonError`, whose text says what, so that the caller can name the file and the remedy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, TypeVar

_MOST_DEPTH = 100
"""ours: what unbraid writes goes 8 deep, and code that goes down recursively stays far from Python's limit."""

_MOST_BYTES = 64 * 2**20
"""ours: of one file; parsed, it takes some ten times as much memory."""

Value = TypeVar("Value")


class JsonError(ValueError):
    """The text is not JSON, or not the JSON that is wanted."""


def parse_json(text: str | bytes) -> Any:
    """What the text holds. NaN, infinities, text that no encoding takes, and what is nested too deep are refused."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise JsonError(f"it is nested more than {_MOST_DEPTH} deep") from None
    except JsonError:
        raise
    except ValueError as error:  # also what is no UTF-8, and numbers of thousands of digits
        raise JsonError(str(error)) from error
    _check(value)
    return value


def read_json(path: str | os.PathLike[str]) -> Any:
    """What the file holds; raises OSError where it cannot be read and JsonError otherwise."""
    with open(path, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise JsonError(f"it has more than {_MOST_BYTES >> 20} MiB")
    return parse_json(data)


def member(mapping: object, key: str, kind: type[Value]) -> Value:
    """The value of a key, of that type; whole numbers are floats as well, and a bool is no number."""
    if not isinstance(mapping, Mapping):
        raise JsonError(f"{_shown(mapping)} stands where '{key}' is looked for")
    if key not in mapping:
        raise JsonError(f"'{key}' is missing")
    return of_kind(mapping[key], kind, key)


def entries(mapping: object, key: str, kind: type[Value]) -> list[Value]:
    """The list under a key, each entry of that type."""
    return [of_kind(entry, kind, key) for entry in member(mapping, key, list)]


def of_kind(value: object, kind: type[Value], key: str) -> Value:
    """`value` if it is of that type; `key` says where it stands."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)  # type: ignore[return-value]
        except OverflowError:
            raise JsonError(f"'{key}' is too large a number") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise JsonError(f"'{key}' is {_shown(value)}, not {_NAMES.get(kind, kind.__name__)}")
    return value


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _shown(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _refuse_constant(name: str) -> float:
    raise JsonError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonError(f"{text[:40]} is out of range")
    return number


def _check(value: object) -> None:
    """Refuses depth, and halves of surrogate pairs, which would fail where they are printed or written."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise JsonError(f"it is nested more than {_MOST_DEPTH} deep")


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise JsonError("it holds half a character (a surrogate without its pair)") from None
    return []
