"""What a setting may be: written once, as the annotation of a config's field or of a parameter, and checked from it.

    num_blocks: PositiveInt = 4
    fusion: Literal["next", "previous"] = "next"

    def __post_init__(self) -> None:
        check_options(self)

A misspelt word, a number out of range, NaN, infinity and a value of another type end in one sentence that lists what is
allowed.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from unbraid.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds of a number, for `Annotated`; a number without bounds still has to be finite."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: float | int) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least:g} to {self.at_most:g}"
        bounds = {"of at least": self.at_least, "above": self.above, "of at most": self.at_most, "below": self.below}
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)


def why_invalid(problem: Mapping[str, Any]) -> str:
    """What pydantic found, one of the `errors()` of a ValidationError, as the end of a sentence naming the setting.

    Its own words are for programmers: "Input should be a valid integer, unable to parse string as an integer".
    """
    given = repr(problem.get("input"))
    given = given if len(given) <= _LONGEST_GIVEN else f"{given[:_LONGEST_GIVEN]}..."
    if words := _PROBLEMS.get(problem["type"]):
        return words.format(given=given, **problem.get("ctx", {}))
    plain = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return plain[:1].lower() + plain[1:]


_LONGEST_GIVEN = 50
_PROBLEMS = {
    "int_parsing": "{given} is not a whole number",
    "int_type": "{given} is not a whole number",
    "int_from_float": "{given} is not a whole number",
    "int_parsing_size": "{given} is too large",
    "float_parsing": "{given} is not a number",
    "float_type": "{given} is not a number",
    "finite_number": "{given} is not a finite number",
    "bool_parsing": "{given} is neither true nor false",
    "bool_type": "{given} is neither true nor false",
    "string_type": "{given} is not text",
    "greater_than": "{given} is not above {gt}",
    "greater_than_equal": "{given} is below {ge}",
    "less_than": "{given} is not below {lt}",
    "less_than_equal": "{given} is above {le}",
    "literal_error": "{given} is not {expected}",
    "missing": "it is missing",
    "extra_forbidden": "there is no such setting",
}

PositiveInt = Annotated[int, Range(at_least=1.0)]
NonNegativeInt = Annotated[int, Range(at_least=0.0)]
PositiveFloat = Annotated[float, Range(above=0.0)]
NonNegativeFloat = Annotated[float, Range(at_least=0.0)]
Share = Annotated[float, Range(at_least=0.0, at_most=1.0)]
"""A part of a whole, or a probability."""
Dropout = Annotated[float, Range(at_least=0.0, below=1.0)]
SampleRate = Annotated[int, Range(at_least=1000.0)]
"""In Hz."""


def check_options(config: object) -> None:
    """Checks every field of a dataclass against its annotation; raises ConfigError for the first that does not fit."""
    for name, annotation in allowed_values(type(config)).items():
        check_option(name, getattr(config, name), annotation)


def check_option(name: str, value: object, annotation: object) -> None:
    """Checks one value, such as the word that a function was given: `check_option("join", join, Join)`."""
    if not fits(value, annotation):
        raise ConfigError(f"is {describe(annotation)}, not {value!r}", subject=name)


def check_range(name: str, bounds: tuple[float | int, float | int], least: float | None = None) -> None:
    """Refuses a pair that goes from high to low, or begins below `least`."""
    if bounds[0] > bounds[1] or (least is not None and bounds[0] < least):
        floor = f" and begins at {least:g} or above" if least is not None else ""
        raise ConfigError(f"goes from low to high{floor}, not {bounds}", subject=name)


@cache
def allowed_values(config_class: type[Any]) -> dict[str, object]:
    """Name of every field of a dataclass -> what it may be, with its bounds."""
    hints = get_type_hints(config_class, include_extras=True)
    return {field.name: hints[field.name] for field in fields(config_class) if field.init}


def fits(value: object, annotation: object) -> bool:
    """Whether a value is one that the annotation allows; of what it cannot judge, it says yes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = (bound for bound in arguments[1:] if isinstance(bound, Range))
        return fits(value, arguments[0]) and (not is_number(value) or all(bound.holds(value) for bound in bounds))
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1:] == (...,):
            return all(fits(entry, arguments[0]) for entry in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if annotation is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if annotation is float:
        return is_number(value) and abs(value) < float("inf")
    if annotation is None:
        return value is None
    return not isinstance(annotation, type) or isinstance(value, annotation)


def is_number(value: object) -> TypeGuard[float | int]:
    return isinstance(value, Real) and not isinstance(value, bool)


_PLAIN: dict[object, str] = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
}


def describe(annotation: object) -> str:
    """What an annotation allows, in words: "'next' or 'previous'", "a whole number of at least 1"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *(str(bound) for bound in arguments[1:] if isinstance(bound, Range))])
    if origin is Literal:
        return one_of([repr(choice) for choice in arguments])
    if origin in (Union, types.UnionType):
        return one_of([describe(choice) for choice in arguments])
    if origin is tuple and arguments[-1:] == (...,):
        return f"a tuple, each entry {describe(arguments[0])}"
    if origin is tuple:
        return f"a tuple of {len(arguments)}: {', '.join(map(describe, arguments))}"
    return _PLAIN.get(annotation) or getattr(annotation, "__name__", str(annotation))


def one_of(choices: list[str]) -> str:
    """The choices as an enumeration: "a, b or c"."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
