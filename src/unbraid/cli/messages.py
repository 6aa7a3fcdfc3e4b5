"""Sentences for people, on stderr: one line each, however long, so that they can be searched for."""

from __future__ import annotations

import json
import sys
from typing import Literal

import typer

from unbraid.cli.settings import as_options
from unbraid.files.names import escape_controls

LogLevel = Literal["error", "warning", "info", "debug"]
"""How much is said: errors; also warnings; also what was done; also how."""

_is_json = False


def speak_json(wanted: bool) -> None:
    """From here on every line on stderr is a JSON object, for programs that wrap us; or is not any more."""
    global _is_json
    _is_json = wanted


def complain(sentence: str, kind: str = "error") -> None:
    """One line on stderr, such as `error: 'a.wav' does not exist`."""
    line = one_line(sentence)
    if _is_json:
        emit(kind if kind in ("error", "warning") else "note", message=line)
    else:
        typer.echo(f"{kind}: {line}" if kind else line, err=True)


def emit(event: str, **facts: object) -> None:
    """One JSON object on a line of stderr."""
    typer.echo(json.dumps({"event": event, **facts}), err=True)


def one_line(sentence: str) -> str:
    """As it is shown: options for settings, and nothing that would break the line or steer the terminal."""
    return escape_controls(" ".join(as_options(sentence).split()))


def print_json(data: object) -> None:
    """Data on stdout, in letters that any terminal and any program take."""
    typer.echo(json.dumps(data, indent=2))


def is_terminal() -> bool:
    """Whether bars and questions on stderr reach a person."""
    return not _is_json and sys.stderr.isatty()
