"""How far a download is, for whoever watches it; on a terminal the hub's library shows that itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[int, int | None], None]
"""Gets how many bytes of how many are there, the latter where it is known; what it raises ends the download."""

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_downloads(watcher: Watcher) -> Iterator[None]:
    """Downloads of this thread tell the watcher how far they are."""
    before = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(before)


def watcher() -> Watcher | None:
    return _WATCHER.get()
