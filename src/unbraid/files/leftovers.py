"""Temporary files that a process leaves when it is killed or the machine stops: whose they are, and their removal.

A temporary file is called `.NAME.partial-MACHINE-PROCESS-RANDOM`, with `-old` or `-before` behind it where it keeps
what is replaced. It is removed where its process has ended on this machine, or where nobody has touched it for a day.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

OLD, BEFORE = "-old", "-before"
"""Marks of what waits to come back if its successor does not get its name."""

_LONGEST_NAME = 50
"""At most 50 letters of 4 bytes each: together with the mark within the 255 bytes that a name may have."""

_PATTERN = re.compile(
    r"\.(?!\.{1,2}\.partial-)(.+)\.partial-(?:([0-9a-f]{8})-)?(\d{1,10})(?:-[0-9a-f]{8})?(-old|-before)?"
)
"""The folder itself and the one above, `.` and `..`, are no files that were under way."""
_FORGOTTEN_SECONDS = 86_400.0

_swept: set[tuple[int, str]] = set()
_MOST_SWEPT = 4096
"""Folders that are remembered: a million recordings may have a folder each, and a second look is cheap."""
_own: set[str] = set()


def partial_path(path: Path) -> Path:
    """A name for a temporary file beside `path`, which no other process takes and everybody knows for ours."""
    mark = f".partial-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = path.with_name(f".{path.name[:_LONGEST_NAME]}{mark}")
    _own.add(partial.name)
    return partial


def forget(partial: Path) -> None:
    """Once a temporary file has its final name or is gone."""
    _own.discard(partial.name)


def remove_leftovers(folder: Path) -> int:
    """Removes what killed processes have left in a folder, and returns how many files; looks once per process, or
    now and then where there are very many folders.

    A file that was about to be replaced, and whose successor did not come, gets its name back.
    """
    # A child after a fork has an own number, and looks again.
    key = os.getpid(), str(folder)
    if key in _swept:
        return 0
    if len(_swept) >= _MOST_SWEPT:
        _swept.clear()
    _swept.add(key)
    count = 0
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if ".partial-" not in entry.name or (match := _PATTERN.fullmatch(entry.name)) is None:
                continue
            with suppress(OSError):
                if not entry.is_symlink() and entry.is_file() and _is_left(entry, match):
                    _remove(Path(entry.path), match)
                    count += 1
    return count


def _is_left(entry: os.DirEntry[str], match: re.Match[str]) -> bool:
    machine, process = match[2], int(match[3])
    if entry.name.removesuffix(match[4] or "") in _own:
        return False
    if machine in (None, _machine()) and sys.platform != "win32":
        return process == os.getpid() or not _is_alive(process)
    return time.time() - entry.stat().st_mtime > _FORGOTTEN_SECONDS


def _remove(path: Path, match: re.Match[str]) -> None:
    final = path.with_name(match[1])
    # The whole name is not known of one that was cut.
    if match[4] == OLD and len(match[1]) < _LONGEST_NAME and not os.path.lexists(final):
        os.replace(path, final)
    elif match[4] != OLD or os.path.lexists(final):
        path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def _machine() -> str:
    """Eight letters for this machine: its name is nobody's business, and may not be fit for a file name."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "replace")).hexdigest()[:8]
