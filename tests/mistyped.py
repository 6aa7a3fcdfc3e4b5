"""JSON with one value of another type: what readers of files from anybody have to refuse in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

GONE = object()
OTHERS: tuple[Any, ...] = (None, [], {}, "x", 5, -1, 0.5, True, ["x"], [["x"]], 10**400, "\ud800", GONE)


def mistyped(whole: Any, others: tuple[Any, ...] = OTHERS) -> Iterator[Any]:
    """Copies of `whole` in which one value, in turn each, is another or gone."""
    for place in _places(whole):
        for other in others:
            yield _changed(whole, place, other)


def _places(value: Any, *above: Any) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*above, key)
        yield from _places(inner, *above, key)


def _changed(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    copy = deepcopy(value)
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if other is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = other
    return copy
