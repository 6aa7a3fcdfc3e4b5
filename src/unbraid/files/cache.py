"""Where what can be fetched or made again lies: below the user's cache folder, or below $UNBRAID_CACHE."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from unbraid.errors import ConfigError


def cache_folder() -> Path:
    """The folder, which need not exist yet."""
    if chosen := os.environ.get("UNBRAID_CACHE"):
        return user_path(chosen) or _fleeting_folder()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = user_path(base)
    return _fleeting_folder() if path is None else path / "unbraid"


def user_path(text: str | os.PathLike[str]) -> Path | None:
    """The path with a folder for its ~; None where there is none, as for a user without a name in a container."""
    expanded = os.path.expanduser(text)
    if os.fspath(text).startswith("~") and expanded == os.fspath(text):
        return None
    return Path(expanded)


@cache
def _fleeting_folder() -> Path:
    """For a user without a home: a folder that nobody else can write to, and that goes with the process."""
    try:
        folder = tempfile.mkdtemp(prefix="unbraid-")
    except OSError as error:
        raise ConfigError(
            "there is neither a home folder nor one for temporary files",
            remedy="name a folder in the environment variable UNBRAID_CACHE",
        ) from error
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return Path(folder)
