"""Sentences for people, on stderr: one line each, however long, so that they can be searched for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def complain(sentence: str, kind: str = "error") -> None:
    """One line on stderr, such as `error: 'a.wav' does not exist`."""
    line = " ".join(sentence.split())
    typer.echo(f"{kind}: {line}" if kind else line, err=True)


def print_json(data: object) -> None:
    """Data on stdout, in letters that any terminal and any program take."""
    typer.echo(json.dumps(data, indent=2))


def make_console() -> Console:
    """For text on stdout; tables that go to a file or a program are not squeezed into the width of a terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def is_terminal() -> bool:
    return sys.stderr.isatty()
