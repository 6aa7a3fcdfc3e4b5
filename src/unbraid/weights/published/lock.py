"""What was fetched at first use, so that later uses get the same: commits of repositories and hashes of files.

One JSON file in the cache folder, written under a lock that other processes respect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from unbraid.errors import WeightsError
from unbraid.files.cache import cache_folder
from unbraid.files.json_text import JsonError, member, of_kind, read_json
from unbraid.files.pending import PendingFile, write_pending
from unbraid.weights.references import is_commit


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """A file as it was fetched."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LockedSource:
    """A repository or an address as it was at first use."""

    commit: str | None = None
    files: dict[str, LockedFile] = field(default_factory=dict)


def lock_path() -> Path:
    return cache_folder() / "models.lock.json"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Only one process at a time does what makes `path`."""
    guard = FileLock(f"{path}.guard")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        guard.acquire()
    except OSError as error:
        raise WeightsError(
            f"nothing can be stored in {path.parent} ({error.strerror or error})",
            remedy="name another folder in the environment variable UNBRAID_CACHE",
        ) from error
    try:
        yield
    finally:
        guard.release()


def read_lock() -> dict[str, LockedSource]:
    """Everything that is locked, by source."""
    path = lock_path()
    try:
        sources = member(read_json(path), "sources", dict)
        return {source: _read_source(of_kind(entry, dict, source)) for source, entry in sources.items()}
    except FileNotFoundError:
        return {}
    except (OSError, JsonError) as error:
        raise WeightsError(
            "is damaged: delete it, and models are locked again at their next use", subject=f"{path}"
        ) from error


def _read_source(entry: Mapping[str, object]) -> LockedSource:
    commit = entry.get("commit")
    # It becomes a part of paths.
    if commit is not None and not is_commit(commit):
        raise JsonError("'commit' is no commit")
    files = {
        name: LockedFile(size=member(file, "size", int), sha256=member(file, "sha256", str))
        for name, file in member(entry, "files", dict).items()
    }
    return LockedSource(commit=str(commit) if commit else None, files=files)


def lock_source(source: str, commit: str | None, files: dict[str, LockedFile]) -> None:
    """Adds files of a source; those that are locked already stay as they are."""
    with exclusive(lock_path()):
        entries = read_lock()
        known = entries.get(source, LockedSource())
        entries[source] = LockedSource(commit=known.commit or commit, files={**files, **known.files})
        _write(entries)


def forget_source(source: str) -> bool:
    """The next use fetches what is there then; whether it was locked."""
    with exclusive(lock_path()):
        entries = read_lock()
        known = entries.pop(source, None)
        if known is not None:
            _write(entries)
    return known is not None


def _write(entries: dict[str, LockedSource]) -> None:
    path = lock_path()
    content = {"format": 1, "sources": {name: asdict(entry) for name, entry in sorted(entries.items())}}
    write_pending(PendingFile(path), f"{json.dumps(content, indent=1)}\n".encode())


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
