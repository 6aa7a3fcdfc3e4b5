"""Files behind https addresses: fetched once, resumed after a cut, verified, and locked to their first content."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from unbraid.errors import DownloadError, WeightsError
from unbraid.files.cache import cache_folder
from unbraid.files.names import printable
from unbraid.files.pending import why_not_stored
from unbraid.weights.published.hub import is_offline
from unbraid.weights.published.lock import LockedFile, exclusive, hash_file, lock_path, lock_source, read_lock
from unbraid.weights.published.progress import watcher
from unbraid.weights.references import WebReference

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30
_TRIES = 5


def cached_file(reference: WebReference) -> Path | None:
    """The file where it is on this machine."""
    path = _place(reference)
    return path if path.is_file() else None


def fetch_file(reference: WebReference) -> Path:
    """Brings a file onto this machine unless it is there.

    Raises DownloadError where it cannot be had, and WeightsError where it is not what is pinned.
    """
    path = _place(reference)
    with exclusive(path):
        if path.is_file():
            return path
        if is_offline():
            raise DownloadError(
                f"{reference.url} is not on this machine and the network is not to be used "
                "(HF_HUB_OFFLINE): download it with a network first (unbraid models download)"
            )
        locked = read_lock().get(reference.url)
        expected = reference.sha256 or (locked.files["content"].sha256 if locked and locked.files else None)
        partial = path.with_name(f"{path.name}.partial")
        for number in range(1, _TRIES + 1):
            try:
                if _fetch(reference, partial):
                    break
            except (OSError, HTTPException, ValueError) as error:
                sentence, final = _explain(error, reference)
                if final or number == _TRIES:
                    raise DownloadError(sentence) from error
        else:
            raise DownloadError(f"{reference.url} arrived incomplete {_TRIES} times: try again, it goes on from there")
        digest = hash_file(partial)
        if expected and digest != expected:
            partial.unlink()
            raise WeightsError(
                f"is not the file that is pinned (its SHA-256 is {digest[:12]}, not {expected[:12]}): it was deleted",
                subject=f"{reference.url}",
                remedy=f"try again, or take the entry out of {lock_path()} if you trust the new file",
            )
        os.replace(partial, path)
        lock_source(reference.url, None, {"content": LockedFile(size=path.stat().st_size, sha256=digest)})
    return path


def _fetch(reference: WebReference, partial: Path) -> bool:
    """Appends what is missing of a file; whether it is then as long as the server says."""
    have = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(reference.url, headers={"User-Agent": "unbraid"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with _opener().open(request, timeout=_TIMEOUT_SECONDS) as answer:
        # A server that goes on from somewhere else would leave a hole, or a piece twice.
        appended = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status == 206 and not appended:
            partial.unlink(missing_ok=True)
            return False
        have = have if appended else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isascii() and length.isdigit() else None
        tell = watcher()
        with open(partial, "ab" if appended else "wb") as file:
            while block := answer.read(_BLOCK_BYTES):
                file.write(block)
                if tell is not None:
                    tell(file.tell(), total)
    return total is None or partial.stat().st_size == total


class _Redirects(urllib.request.HTTPRedirectHandler):
    """What was asked for over https does not come over anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ValueError(f"leads to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """With the proxies of the environment."""
    return urllib.request.build_opener(_Redirects)


def _explain(error: OSError | HTTPException | ValueError, reference: WebReference) -> tuple[str, bool]:
    """What to say, and whether another try is useless."""
    if isinstance(error, urllib.error.HTTPError):
        match error.code:
            case 416:
                _place(reference).with_name(f"{_place(reference).name}.partial").unlink(missing_ok=True)
                return f"{reference.url} has changed while it was fetched: try again", False
            case 401 | 403:
                return f"{reference.url} is not open to everybody: fetch it by hand and give its path", True
            case 404 | 410:
                return f"there is nothing at {reference.url} any more: look for its new address", True
            case 429:
                return f"{reference.url} asks to wait (too many requests): try again in some minutes", True
        return f"{reference.url} answers with an error ({error.code}): try again later", error.code < 500
    if isinstance(error, OSError) and (reason := why_not_stored(error)):
        return f"{reference.url} cannot be stored: {reason}", True
    if isinstance(error, ValueError):
        reason = " ".join(str(error).split())[:120]
        return f"{reference.url} answers what is not understood ({printable(reason)}): fetch it by hand", True
    return f"{reference.url} cannot be reached: check the network", isinstance(error, urllib.error.URLError)


def _place(reference: WebReference) -> Path:
    key = hashlib.sha256(str(reference).encode()).hexdigest()[:24]
    return cache_folder() / "files" / key / reference.file_name
