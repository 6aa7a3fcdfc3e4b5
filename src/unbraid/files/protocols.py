"""The least that a file object must be able to do; nominal types would shut out io.BytesIO and what wraps it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Readable(Protocol):
    """Gives bytes, in order."""

    def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class Seekable(Readable, Protocol):
    """Gives bytes from anywhere."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


@runtime_checkable
class Writable(Protocol):
    """Takes bytes, in order."""

    def write(self, data: bytes, /) -> int | None: ...

    def flush(self) -> None: ...


@runtime_checkable
class Rewritable(Writable, Seekable, Protocol):
    """Takes bytes anywhere."""
