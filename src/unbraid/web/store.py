"""The queue and its results in SQLite, so that they survive a restart."""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS separations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    seconds REAL,
    bytes INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    message TEXT,
    result TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS by_state ON separations (state, number);
"""
_COLUMNS = "number, id, name, options, state, created, started, ended, seconds, bytes, attempts, message, result"


@dataclass(frozen=True, kw_only=True)
class StoredSeparation:
    """One recording that was handed in, and what became of it."""

    number: int
    """The order in which they came."""
    id: str
    """Unguessable: who knows it may see the results."""
    name: str
    """Of the recording, as its owner calls it; never part of a path."""
    options: dict[str, Any]
    """As `SeparationOptions` has them."""
    state: State
    created: float
    """Seconds since 1970, like the two times that follow."""
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    """Of audio, where known."""
    bytes: int = 0
    """On the disk, recording and results together."""
    attempts: int = 0
    """How often a worker began it."""
    message: str | None = None
    """Why it failed."""
    result: dict[str, Any] = field(default_factory=dict)
    """Of one that is done: its stems and what should be known about them."""


_LEAST_JUMP_SECONDS = 60.0
"""ours: less is a clock that is kept right."""


class SeparationStore:
    """Every change is on the disk when its method returns; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._clocks = time.time(), _uptime()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add(
        self, id: str, name: str, options: dict[str, Any], *, seconds: float | None, size: int, most_queued: int
    ) -> StoredSeparation | None:
        """One more in the queue; None where that is full."""
        with self._changing():
            if self.count("queued") >= most_queued:
                return None
            self._connection.execute(
                "INSERT INTO separations (id, name, options, state, created, seconds, bytes) "
                "VALUES (?, ?, ?, 'queued', ?, ?, ?)",
                (id, name, json.dumps(options), time.time(), seconds, size),
            )
        return self.get(id)

    def get(self, id: str) -> StoredSeparation | None:
        found = self._select("WHERE id = ?", (id,))
        return found[0] if found else None

    def several(self, ids: Iterable[str]) -> list[StoredSeparation]:
        """Those of the ids that exist, the newest first."""
        wanted = list(ids)
        marks = ", ".join("?" * len(wanted))
        return self._select(f"WHERE id IN ({marks}) ORDER BY number DESC", wanted)

    def ended(self) -> list[StoredSeparation]:
        """All that have come to an end, the oldest first."""
        return self._select("WHERE state IN (?, ?, ?) ORDER BY ended", ENDED)

    def waiting(self) -> list[StoredSeparation]:
        """The queue, in its order."""
        return self._select("WHERE state = 'queued' ORDER BY number", ())

    def running(self) -> list[StoredSeparation]:
        return self._select("WHERE state = 'running' ORDER BY number", ())

    def all_ids(self) -> set[str]:
        with self._lock:
            return {row[0] for row in self._connection.execute("SELECT id FROM separations")}

    def count(self, state: State) -> int:
        with self._lock:
            return self._connection.execute("SELECT count(*) FROM separations WHERE state = ?", (state,)).fetchone()[0]

    def total_bytes(self) -> int:
        with self._lock:
            return self._connection.execute("SELECT coalesce(sum(bytes), 0) FROM separations").fetchone()[0]

    def take(self) -> StoredSeparation | None:
        """The first in the queue, which runs from now on; None where nothing waits."""
        with self._changing():
            row = self._connection.execute(
                "UPDATE separations SET state = 'running', started = ?, attempts = attempts + 1 WHERE number = "
                "(SELECT min(number) FROM separations WHERE state = 'queued') RETURNING id",
                (time.time(),),
            ).fetchone()
        return None if row is None else self.get(row[0])

    def put_back(self, id: str, *, counts: bool) -> None:
        """A running one waits again, at its old place; where it `counts` not, it was never begun."""
        with self._changing():
            self._connection.execute(
                "UPDATE separations SET state = 'queued', started = NULL, attempts = attempts - ? "
                "WHERE id = ? AND state = 'running'",
                (0 if counts else 1, id),
            )

    def end(
        self,
        id: str,
        state: State,
        *,
        message: str | None = None,
        seconds: float | None = None,
        size: int | None = None,
        result: dict[str, Any] | None = None,
    ) -> bool:
        """Brings it to an end, and says whether it had none before."""
        with self._changing():
            changed = self._connection.execute(
                "UPDATE separations SET state = ?, ended = ?, message = ?, seconds = coalesce(?, seconds), "
                "bytes = coalesce(?, bytes), result = ? WHERE id = ? AND state IN ('queued', 'running')",
                (state, time.time(), message, seconds, size, json.dumps(result or {}), id),
            )
            return changed.rowcount > 0

    def grow(self, id: str, size: int) -> None:
        """Some more of it lies on the disk."""
        with self._changing():
            self._connection.execute("UPDATE separations SET bytes = bytes + ? WHERE id = ?", (size, id))

    def follow_clock(self) -> None:
        """Where the time of day was set since the last call, all ends become what they would have been by that clock.

        A small machine begins in 1970 and learns the time later: what it has done by then is not old.
        """
        with self._changing():
            before, self._clocks = self._clocks, (time.time(), _uptime())
            set_by = (self._clocks[0] - before[0]) - (self._clocks[1] - before[1])
            if abs(set_by) >= _LEAST_JUMP_SECONDS:
                self._connection.execute("UPDATE separations SET ended = ended + ?", (set_by,))

    def remove(self, id: str) -> None:
        with self._changing():
            self._connection.execute("DELETE FROM separations WHERE id = ?", (id,))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _select(self, where: str, values: Iterable[Any]) -> list[StoredSeparation]:
        with self._lock:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM separations {where}", tuple(values)).fetchall()
        names = [name.strip() for name in _COLUMNS.split(",")]
        found = []
        for row in rows:
            values_by_name = dict(zip(names, row, strict=True))
            for name in ("options", "result"):
                values_by_name[name] = json.loads(values_by_name[name])
            found.append(StoredSeparation(**values_by_name))
        return found


def _uptime() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps where the system has one."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def new_id() -> str:
    """128 random bits, as letters that go into addresses."""
    return secrets.token_urlsafe(16)
