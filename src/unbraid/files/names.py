"""Names of files as text."""

from __future__ import annotations

import os


def printable(path: str | os.PathLike[str]) -> str:
    """A path as text that any terminal takes, even where its name is not valid UTF-8."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
