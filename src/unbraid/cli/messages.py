"""Sentences for people, on stderr: one line each, however long, so that they can be searched for."""

from __future__ import annotations

import json
import sys

import typer


def complain(sentence: str, kind: str = "error") -> None:
    """One line on stderr, such as `error: 'a.wav' does not exist`."""
    line = " ".join(sentence.split())
    typer.echo(f"{kind}: {line}" if kind else line, err=True)


def print_json(data: object) -> None:
    """Data on stdout, in letters that any terminal and any program take."""
    typer.echo(json.dumps(data, indent=2))


def is_terminal() -> bool:
    return sys.stderr.isatty()
