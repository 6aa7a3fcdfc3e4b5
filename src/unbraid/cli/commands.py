"""The commands by name: where each lies and what help says of it, so that no other than the one in use is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import typer


class Place(NamedTuple):
    """Where a command lies."""

    module: str
    attribute: str
    """A function, or an app of several commands."""
    summary: str
    """The first sentence of its help, as the function or the app has it."""


COMMANDS: Mapping[str, Place] = {
    "separate": Place(
        "separate",
        "separate",
        "Separates recordings into their sources: DIR/MODEL/TRACK/STEM.wav, one file per source.",
    ),
    "profile": Place("profile", "profile", "Measures parameters, MACs, processor time and memory per second of audio."),
    "train": Place(
        "train",
        "train",
        "Trains a model by a recipe; the best weights become a file for `unbraid separate -n`.",
    ),
    "evaluate": Place(
        "evaluate", "evaluate", "Scores a model, or what another tool has separated, against references."
    ),
    "compare": Place("compare", "compare", "Compares two evaluations track by track: B minus A."),
    "check-data": Place(
        "check_data",
        "check_data",
        "Checks a data set: finds its layout, reads all of it, and says what is wrong and what to do about it.",
    ),
    "doctor": Place(
        "doctor",
        "doctor",
        "Checks this installation: versions, devices, decoders, precision, disk space, models.",
    ),
    "serve": Place(
        "serve",
        "serve",
        "Opens a page where recordings are separated, looked at and listened to, with an API for programs.",
    ),
    "stream": Place("stream", "stream", "Separates sound while it arrives, some milliseconds behind it."),
    "demo": Place(
        "demo",
        "demo",
        "Separate the example recordings, write stems and a report to look at and listen to.",
    ),
    "models": Place("models_published", "models", "Lists models, shows them, and exports and imports weights."),
    "prepare": Place(
        "prepare",
        "prepare",
        "One-time preparation that some data sets need before training; can be stopped, and resumes where it was.",
    ),
}


class LazyCommands(Mapping[str, Any]):
    """The commands, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, COMMANDS[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _make(name: str, place: Place) -> Any:
    from unbraid.cli.defaults import CommandWithDefaults

    part = getattr(import_module(f"unbraid.cli.{place.module}"), place.attribute)
    around = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    if isinstance(part, typer.Typer):
        around.add_typer(part, name=name)
    else:
        around.command(name, cls=CommandWithDefaults)(part)
    return typer.main.get_group(around).commands[name]


class _Later(ModuleType):
    """Stands for a module of classes until one of them is called."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def make(cls: type, *args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **kwargs)

        return type(name, (), {"__new__": make})


def import_help_formatter() -> None:
    """Imports typer's formatter without two modules that take longer than the rest of it and than typer.

    One formats help that is written in Markdown, and the other tracebacks; ours is in the markup of rich.
    """
    places = [name for name in ("rich.markdown", "rich.traceback") if name not in sys.modules]
    sys.modules.update({name: _Later(name) for name in places})
    try:
        with suppress(ModuleNotFoundError):  # a typer that keeps it elsewhere imports it by itself
            import_module("typer.rich_utils")
    finally:
        for name in places:
            del sys.modules[name]
