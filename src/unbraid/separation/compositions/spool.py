"""Stems that wait on the disk until another pass over them: memory does not grow with the recording."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from unbraid.audio.formats import AudioInfo
from unbraid.files.scratch import no_room, open_scratch

_PIECE_SAMPLES = 1 << 15


class Spool:
    """Float32 samples (row, sample) in a file without a name, written once and then read from anywhere."""

    def __init__(self, num_rows: int, scratch: Path | None) -> None:
        self.num_rows = num_rows
        self.num_samples = 0
        self._folder = scratch if scratch is not None and scratch.is_dir() else None
        self._file = open_scratch(self._folder)
        self._lock = threading.Lock()

    def write(self, rows: np.ndarray) -> None:
        try:
            self._file.write(np.ascontiguousarray(rows.T, np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise no_room("stems that wait for the next model", error, self._folder) from error
        self.num_samples += rows.shape[1]

    def read(self, start: int, count: int) -> np.ndarray:
        """(row, sample)."""
        with self._lock:
            self._file.seek(4 * self.num_rows * start)
            data = self._file.read(4 * self.num_rows * max(0, min(count, self.num_samples - start)))
        return np.frombuffer(data, np.float32).reshape(-1, self.num_rows).T

    def pieces(self) -> Iterator[np.ndarray]:
        for start in range(0, self.num_samples, _PIECE_SAMPLES):
            yield self.read(start, _PIECE_SAMPLES)

    def close(self) -> None:
        self._file.close()


class StemReader:
    """One stem of a spool as a recording."""

    def __init__(self, spool: Spool, rows: slice, info: AudioInfo, stem: str) -> None:
        self._spool, self._rows, self._stem = spool, rows, stem
        self.info = replace(
            info,
            name=f"the stem {stem} of {info.name}",
            num_samples=spool.num_samples,
            expected_samples=spool.num_samples,
            remarks=[],
        )

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        for start in range(0, self._spool.num_samples, block_samples):
            yield self._spool.read(start, block_samples)[self._rows].copy()

    def reopen(self) -> StemReader:
        return StemReader(self._spool, self._rows, self.info, self._stem)

    def close(self) -> None:
        pass
