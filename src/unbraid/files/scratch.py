"""Arrays that may be larger than memory: alike to whoever reads and writes them, and on disk where they are long."""

from __future__ import annotations

import tempfile

import numpy as np

IN_MEMORY_BYTES = 256 * 2**20
"""ours: larger arrays wait in a temporary file, about six minutes of four stereo stems."""


def make_array(shape: tuple[int, ...]) -> np.ndarray:
    """Float32 zeros, in memory or in a file without a name, which vanishes with the array or with the process."""
    if 4 * np.prod(shape, dtype=np.int64) <= IN_MEMORY_BYTES:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(prefix="unbraid-") as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
