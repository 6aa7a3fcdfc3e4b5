"""The one check of settings: what fits, what does not, and the sentence that says so."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from unbraid.errors import ConfigError
from unbraid.options import (
    NonNegativeFloat,
    PositiveInt,
    Range,
    SampleRate,
    check_option,
    check_options,
    why_invalid,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["inner"] = "inner"


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: SampleRate = 8000
    word: Literal["next", "previous"] = "next"
    places: tuple[Literal["E1", "E2"], ...] = ()
    batch: PositiveInt | Literal["auto"] = 4
    span: tuple[float, float] = (0.0, 1.0)
    seconds: NonNegativeFloat = 0.0
    level_db: float | None = None
    names: tuple[str, ...] = ("a",)
    flag: bool = True
    odd: Annotated[int, Range(at_least=1.0, below=9.0)] = 3
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check_options(self)


def settings(**values: object) -> None:
    """Checks settings as a user's Python does: the test run's own check of types stands before __init__ only."""
    changed = copy(Settings())
    for name, value in values.items():
        object.__setattr__(changed, name, value)
    changed.__post_init__()


@pytest.mark.parametrize(
    "values",
    [
        {"word": "previous"},
        {"places": ("E1", "E2")},
        {"batch": "auto"},
        {"seconds": 3},
        {"level_db": -25.0},
        {"span": (-1.0, 2)},
    ],
)
def test_what_is_allowed_passes(values: dict[str, object]) -> None:
    settings(**values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"word": "i+1"}, "word is 'next' or 'previous', not 'i+1'"),
        ({"places": ("E9",)}, "places is a tuple, each entry 'E1' or 'E2', not ('E9',)"),
        ({"places": "E1"}, "places is a tuple, each entry 'E1' or 'E2', not 'E1'"),
        ({"batch": -1}, "batch is a whole number of at least 1 or 'auto', not -1"),
        ({"batch": True}, "batch is a whole number of at least 1 or 'auto', not True"),
        ({"batch": 2.0}, "batch is a whole number of at least 1 or 'auto', not 2.0"),
        ({"rate": 10}, "rate is a whole number of at least 1000, not 10"),
        ({"seconds": float("nan")}, "seconds is a finite number of at least 0, not nan"),
        ({"seconds": float("inf")}, "seconds is a finite number of at least 0, not inf"),
        ({"level_db": float("nan")}, "level_db is a finite number or None, not nan"),
        ({"span": (1.0,)}, "span is a tuple of 2: a finite number, a finite number, not (1.0,)"),
        ({"names": "vocals"}, "names is a tuple, each entry a text, not 'vocals'"),
        ({"flag": 1}, "flag is True or False, not 1"),
        ({"odd": 9}, "odd is a whole number of at least 1 and below 9, not 9"),
        ({"inner": "inner"}, "inner is Inner, not 'inner'"),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(**values)
    assert str(raised.value) == sentence


def test_a_word_given_to_a_function() -> None:
    check_option("join", "fade", Literal["fade", "average"])
    with pytest.raises(ConfigError, match="join is 'fade' or 'average', not 'fades'"):
        check_option("join", "fades", Literal["fade", "average"])


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (int, "abc", "'abc' is not a whole number"),
        (int, 1.5, "1.5 is not a whole number"),
        (int, "9" * 5000, "is too large"),
        (float, "loud", "'loud' is not a number"),
        (bool, "perhaps", "'perhaps' is neither true nor false"),
        (str, 3, "3 is not text"),
        (Literal["a", "b"], "c", "'c' is not 'a' or 'b'"),
        (Annotated[int, Field(ge=2, le=7)], 8, "8 is above 7"),
        (Annotated[int, Field(ge=2, le=7)], 1, "1 is below 2"),
        (list[int], "x", "it should be a valid list"),
    ],
)
def test_what_pydantic_finds_is_said_plainly(kind, given, sentence):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(given)
    said = why_invalid(caught.value.errors()[0])
    assert sentence in said
    assert len(said) < 100
