"""How several models are named as one: wherever a model is named, a composition can be.

    a+b                                     the mean of the estimates of two models
    0.7*a+0.3*b                             weighted
    median(a, b, c)   min(a, b)   max(a, b)         sample by sample; min and max go by magnitude
    median_spectrum(a, b, c)   min_spectrum(a, b)   max_spectrum(a, b)      bin by bin of the spectrum
    a | b on vocals                         a separates the recording, then b the stem vocals of that
    vocals: a | dialogue: b on vocals       the same, of which only the stems that are named are kept

A member may be a composition itself, in parentheses. A name with + * , | ( ) or spaces in it goes in 'quotes'.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from os import path
from typing import Literal

from unbraid.errors import ConfigError

How = Literal["mean", "median", "min", "max"]
Domain = Literal["wave", "spectrum"]

_HOWS: dict[str, tuple[How, Domain]] = {
    "mean": ("mean", "wave"),
    "median": ("median", "wave"),
    "min": ("min", "wave"),
    "max": ("max", "wave"),
    "mean_spectrum": ("mean", "spectrum"),
    "median_spectrum": ("median", "spectrum"),
    "min_spectrum": ("min", "spectrum"),
    "max_spectrum": ("max", "spectrum"),
}
_ALIASES = {"avg": "mean", "average": "mean"}
"""audio-separator calls them avg_wave, median_fft and the like."""

_TOKEN = re.compile(r"\s*(?:(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<mark>[|+*(),])|(?P<word>[^\s|+*(),'\"]+))")
_MOST_PARTS = 32
_MOST_DEPTH = 8


@dataclass(frozen=True)
class OneModel:
    """A model by its name."""

    name: str

    def __str__(self) -> str:
        return f"'{self.name}'" if re.search(r"[\s|+*(),'\"]", self.name) else self.name


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Models that hear the same, and one estimate of each stem that all of them have."""

    members: tuple[Composition, ...]
    weights: tuple[float, ...]
    """How much each counts in the mean; the others do not weigh."""
    how: How = "mean"
    domain: Domain = "wave"

    def __post_init__(self) -> None:
        if len(self.members) != len(self.weights) or not self.members:
            raise ConfigError(f"{len(self.members)} models and {len(self.weights)} weights do not go together")
        if any(not (math.isfinite(weight) and weight >= 0) for weight in self.weights) or sum(self.weights) <= 0:
            raise ConfigError("the weights of an ensemble are numbers of at least 0, and not all of them 0")
        if self.how != "mean" and len(set(self.weights)) > 1:
            raise ConfigError(f"weights go with the mean, not with {self.how}", remedy="leave them out")

    def __str__(self) -> str:
        inner = [f"({one})" if isinstance(one, Chain) else str(one) for one in self.members]
        if self.how == "mean" and self.domain == "wave":
            equal = len(set(self.weights)) == 1
            return "+".join(
                text if equal else f"{weight:g}*{text}" for weight, text in zip(self.weights, inner, strict=True)
            )
        suffix = "_spectrum" if self.domain == "spectrum" else ""
        return f"{self.how}{suffix}({', '.join(inner)})"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A model in a chain."""

    model: Composition
    on: str | None = None
    """The stem that it separates; None: the recording, or the one stem that there is."""
    keep: tuple[str, ...] | None = None
    """Of its stems only these; None: all."""

    def __str__(self) -> str:
        text = f"({self.model})" if isinstance(self.model, Chain) else str(self.model)
        return (f"{', '.join(self.keep)}: " if self.keep else "") + text + (f" on {self.on}" if self.on else "")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Models one after the other, each on a stem of those before, which is replaced by what comes of it."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))


Composition = OneModel | Blend | Chain


def is_composition(name: str) -> bool:
    """Whether a name is that of several models; a file or folder of that name, and an address alone, are one."""
    if not re.search(r"[|+*(,]|: ", name) or path.exists(name):
        return False
    return not re.fullmatch(r"https?:\S+", name)


def parse_composition(text: str) -> Composition:
    """Raises ConfigError that says where the text is not one."""
    return _Parser(text).parse()


def model_names(composition: Composition) -> tuple[str, ...]:
    """Every model of it once, in order."""
    match composition:
        case OneModel():
            return (composition.name,)
        case Blend():
            parts = composition.members
        case Chain():
            parts = tuple(step.model for step in composition.steps)
    return tuple(dict.fromkeys(name for part in parts for name in model_names(part)))


def title_of(composition: Composition) -> str:
    """In words that any file system takes as a name: "vocals of htdemucs, then speech on vocals"."""
    text = re.sub(r" \| ", ", then ", str(composition))
    text = re.sub(r": (?=\S)", " of ", text)
    return re.sub(r"[/\\]", "_", text.replace("*", " ").replace("'", "").replace(":", "_"))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._at, self._depth, at = 0, 0, 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong("a quotation mark is not closed")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind], match.start(kind)))
            at = match.end()

    def parse(self) -> Composition:
        found = self._chain()
        if self._at < len(self._tokens):
            raise self._wrong(f"'{self._tokens[self._at][1]}' is not expected")
        if len(model_names(found)) > _MOST_PARTS:
            raise self._wrong(f"it has more than {_MOST_PARTS} models")
        return found

    def _chain(self, commas: bool = True) -> Composition:
        """`commas` between the stems to keep, which within min(a, b) would be those between models."""
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._wrong(f"it is nested more than {_MOST_DEPTH} deep")
        steps = [self._step(commas)]
        while self._take("|"):
            steps.append(self._step(commas))
        self._depth -= 1
        first = steps[0]
        if len(steps) == 1 and first.keep is None and first.on is None:
            return first.model
        if first.on is not None:
            raise self._wrong("the first model separates the recording and is not 'on' a stem")
        return Chain(steps=tuple(steps))

    def _step(self, commas: bool) -> Step:
        keep = self._kept(commas)
        model = self._blend()
        on = None
        if self._peek() == ("word", "on"):
            self._at += 1
            on = self._name("the stem after 'on'")
        return Step(model=model, on=on, keep=keep)

    def _kept(self, commas: bool) -> tuple[str, ...] | None:
        """Names up to a colon that ends a word; none where there is no such colon."""
        names: list[str] = []
        at = self._at
        while at < len(self._tokens) and self._tokens[at][0] != "mark":
            kind, text, _ = self._tokens[at]
            if kind == "word" and text.endswith(":"):
                names.append(text[:-1])
                self._at = at + 1
                if not all(names):
                    raise self._wrong("there is no stem in front of the colon")
                return tuple(dict.fromkeys(names))
            names.append(text.strip("'\""))
            if not commas or self._tokens[at + 1 : at + 2] == [] or self._tokens[at + 1][1] != ",":
                return None
            at += 2
        return None

    def _blend(self) -> Composition:
        members, weights = [], []
        while True:
            weights.append(self._weight())
            members.append(self._member())
            if not self._take("+"):
                break
        if len(members) == 1:
            return members[0]
        return Blend(members=tuple(members), weights=tuple(weights))

    def _weight(self) -> float:
        if self._at + 1 < len(self._tokens) and self._tokens[self._at + 1][:2] == ("mark", "*"):
            text = self._tokens[self._at][1]
            try:
                weight = float(text)
            except ValueError:
                raise self._wrong(f"'{text}' in front of * is no number") from None
            self._at += 2
            return weight
        return 1.0

    def _member(self) -> Composition:
        if self._take("("):
            inner = self._chain()
            self._expect(")")
            return inner
        name = self._name("a model")
        if not self._take("("):
            return OneModel(name)
        how, domain = self._how(name)
        members = [self._chain(commas=False)]
        while self._take(","):
            members.append(self._chain(commas=False))
        self._expect(")")
        return Blend(members=tuple(members), weights=(1.0,) * len(members), how=how, domain=domain)

    def _how(self, name: str) -> tuple[How, Domain]:
        base, _, suffix = name.partition("_")
        known = _ALIASES.get(base, base)
        known += {"": "", "wave": "", "fft": "_spectrum", "spectrum": "_spectrum"}.get(suffix, f"_{suffix}")
        if known not in _HOWS:
            raise self._wrong(f"there is no way '{name}' to join models; there are: {', '.join(_HOWS)}")
        return _HOWS[known]

    def _name(self, what: str) -> str:
        if self._at < len(self._tokens):
            kind, text, _ = self._tokens[self._at]
            name = text.strip("'\"") if kind == "quoted" else text
            if kind != "mark" and name:
                self._at += 1
                return name
        raise self._wrong(f"{what} is missing")

    def _peek(self) -> tuple[str, str] | None:
        return self._tokens[self._at][:2] if self._at < len(self._tokens) else None

    def _take(self, mark: str) -> bool:
        if self._peek() == ("mark", mark):
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self._wrong(f"'{mark}' is missing")

    def _wrong(self, what: str) -> ConfigError:
        at = self._tokens[self._at][2] if self._at < len(self._tokens) else None
        place = f" at '{self._text[at : at + 20]}'" if at is not None else ""
        return ConfigError(
            f"is not read as several models{place}: {what}",
            subject=f"'{self._text[:80]}'",
            remedy="write a+b, 0.7*a+0.3*b, median(a, b, c), or  a | b on vocals",
        )
