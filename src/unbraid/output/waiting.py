"""Samples that wait to be encoded: in memory where they are few, else on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from unbraid.files.pending import PendingFile, writing_to

_READ_SAMPLES = 1 << 18


class WaitingSamples:
    """Float32 (channel, sample) blocks of one stem, which come back once; beyond `memory_bytes` they wait in a hidden
    file beside `path`."""

    def __init__(self, path: str | os.PathLike[str], num_channels: int, memory_bytes: int) -> None:
        self._path, self._num_channels, self._memory_bytes = path, num_channels, memory_bytes
        self._blocks, self._bytes = list[np.ndarray](), 0
        self._file: PendingFile | None = None

    def append(self, block: np.ndarray) -> None:
        self._blocks.append(block.astype(np.float32))
        self._bytes += self._blocks[-1].nbytes
        if self._bytes <= self._memory_bytes:
            return
        if self._file is None:
            self._file = PendingFile(self._path, follow_link=False)
        with writing_to(self._file.name):
            for waiting in self._blocks:
                self._file.file.write(waiting.T.tobytes())
        self._blocks.clear()

    def blocks(self) -> Iterator[np.ndarray]:
        """All that was appended, in blocks of other lengths."""
        if self._file is not None:
            with writing_to(self._file.name):
                self._file.file.seek(0)
            while data := self._read(self._file):
                yield np.frombuffer(data, np.float32).reshape(-1, self._num_channels).T
        yield from self._blocks

    def _read(self, file: PendingFile) -> bytes:
        with writing_to(file.name):
            return file.file.read(_READ_SAMPLES * 4 * self._num_channels)

    def discard(self) -> None:
        """Lets go of memory and file."""
        self._blocks.clear()
        if self._file is not None:
            self._file.discard()
