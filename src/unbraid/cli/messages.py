"""Sentences for people, on stderr: one line each, however long, so that they can be searched for."""

from __future__ import annotations

import json
import sys

import typer

from unbraid.cli.settings import as_options
from unbraid.files.names import escape_controls


def complain(sentence: str, kind: str = "error") -> None:
    """One line on stderr, such as `error: 'a.wav' does not exist`."""
    line = one_line(sentence)
    typer.echo(f"{kind}: {line}" if kind else line, err=True)


def one_line(sentence: str) -> str:
    """As it is shown: options for settings, and nothing that would break the line or steer the terminal."""
    return escape_controls(" ".join(as_options(sentence).split()))


def print_json(data: object) -> None:
    """Data on stdout, in letters that any terminal and any program take."""
    typer.echo(json.dumps(data, indent=2))


def is_terminal() -> bool:
    return sys.stderr.isatty()
