"""Temporary files: without a name where the system allows it, of their user alone, and gone with the process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from unbraid.errors import DiskSpaceError
from unbraid.files.names import printable

IN_MEMORY_BYTES = 256 * 2**20
"""ours: larger arrays wait in a temporary file, about six minutes of four stereo stems."""


def open_scratch(folder: Path | None = None) -> IO[bytes]:
    """A temporary file in that folder or, by default, where the system keeps such files."""
    try:
        return tempfile.TemporaryFile(prefix=".unbraid-", dir=folder)
    except OSError as error:
        raise no_room("temporary files", error, folder) from error


def no_room(what: str, error: OSError, folder: Path | None = None) -> DiskSpaceError:
    """Says where `what` could not be written, which may be nowhere."""
    try:
        place = f" in {printable(folder or tempfile.gettempdir())}"
    except OSError:
        place = ""  # the error says so
    return DiskSpaceError(
        f"{what} cannot be written{place} ({error.strerror or error})",
        remedy="free some space there, or set TMPDIR to another folder",
    )


def make_array(shape: tuple[int, ...]) -> np.ndarray:
    """Float32 zeros, in memory where they are short, and in a temporary file where they are long."""
    if 4 * np.prod(shape, dtype=np.int64) <= IN_MEMORY_BYTES:
        return np.zeros(shape, np.float32)
    with open_scratch() as file:
        try:
            return np.memmap(file, np.float32, "w+", shape=shape)
        except OSError as error:
            raise no_room("temporary files", error) from error
