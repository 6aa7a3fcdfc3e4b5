"""Several files as one zip, written while it is sent: nothing waits on the disk or in memory."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_PIECE_BYTES = 1 << 18


class _Outlet(io.RawIOBase):
    """What a zip is written into; it cannot be seeked, and is emptied after every piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def _time(seconds: float) -> tuple[int, int, int, int, int, int]:
    """As a zip has it, which begins in 1980 and ends in 2107; a clock may say anything."""
    year, *rest = time.localtime(min(max(seconds, 0.0), 2.0**33))[:6]
    if not 1980 <= year <= 2107:
        year, rest = min(max(year, 1980), 2107), [1, 1, 0, 0, 0]
    return (year, *rest)  # type: ignore[return-value]


def stream_zip(files: Mapping[str, Path]) -> Iterator[bytes]:
    """The pieces of a zip with these files by their names in it; audio is stored as it is."""
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _time(path.stat().st_mtime))
            with open(path, "rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(_PIECE_BYTES):
                    target.write(piece)
                    yield outlet.taken()
            yield outlet.taken()
    yield outlet.taken()
