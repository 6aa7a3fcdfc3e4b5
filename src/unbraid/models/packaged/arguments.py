"""Arguments of other packages' networks, which come out of files: only known names, plain values and sane sizes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from unbraid.errors import ConfigError

_LARGEST = 1 << 20
_LONGEST = 4096
"""Numbers of a list."""

Words = Mapping[str, frozenset[str]]
"""Arguments that are words, and the words that each takes."""


def check_arguments(network: str, arguments: Mapping[str, object], known: frozenset[str], words: Words) -> None:
    """Raises ConfigError unless every argument is a known one and its value a number, a list of numbers, or a word."""
    for name, value in arguments.items():
        if name not in known and name not in words:
            raise ConfigError(f"has no argument '{name}', so this file is not one of its models", subject=f"{network}")
        if name in words:
            if value not in words[name]:
                raise ConfigError(f"{network}: '{name}' is one of {', '.join(sorted(words[name]))}, not {value!r}")
        elif not _is_plain(value):
            raise ConfigError(
                f"{network}: '{name}' is no number in a sane range, nor a list of such: {str(value)[:80]}"
            )


def _is_plain(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, Real):
        return abs(float(value)) <= _LARGEST
    return isinstance(value, list | tuple) and len(value) <= _LONGEST and all(map(_is_plain, value))
