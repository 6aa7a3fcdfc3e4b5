"""Names of files as text."""

from __future__ import annotations

import os
import re

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What steers a terminal or breaks a line: control characters, line separators, and changes of direction."""


def printable(path: str | os.PathLike[str]) -> str:
    """A path as text that any terminal takes: what is no valid UTF-8, and what would steer the terminal, is escaped."""
    return escape_controls(well_formed(os.fspath(path)))


def well_formed(text: str) -> str:
    """Text that every file and page takes: bytes of a name on a disk that are no UTF-8 are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_controls(text: str) -> str:
    """Text whose control characters are written as `\\x1b` and the like."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)
