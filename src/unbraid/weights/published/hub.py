"""Files of the Hugging Face hub: listed, chosen, fetched through the hub's own library and cache, and verified.

A repository without a pinned commit is locked to the commit of its first use on this machine, and every file to its
hash; what is locked and in the cache is used without asking the network. Environment variables of the hub's library
hold: HF_TOKEN, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE and the proxies.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.errors import DownloadError, MissingExtraError, WeightsError
from unbraid.files.cache import cache_folder, user_path
from unbraid.files.names import printable
from unbraid.files.pending import why_not_stored
from unbraid.weights.published.lock import LockedFile, LockedSource, hash_file, lock_path, lock_source, read_lock
from unbraid.weights.published.progress import watcher
from unbraid.weights.references import HubReference, is_commit

_LIBRARIES = ("httpx", "httpx2", "requests", "urllib3", "huggingface_hub", "hf_xet")
Chooser = Callable[[Sequence[str]], Sequence[str]]
"""From all paths of a repository to those that are wanted; raises where nothing fits."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What the hub says of a file."""

    size: int | None
    sha256: str | None
    """Of large files."""
    git_sha1: str | None
    """Of small ones: the name git gives its content."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Files of a repository at one commit, on this machine."""

    commit: str
    root: Path
    files: tuple[str, ...]
    """Paths below `root`."""


def is_offline() -> bool:
    """Whether the user has said that the network is not to be used."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def fetch_from_hub(reference: HubReference, choose: Chooser, pinned: dict[str, str] | None = None) -> Snapshot:
    """Brings the files that `choose` picks onto this machine, unless they are there, and verifies what was fetched.

    `pinned` maps paths to SHA-256; other files are held to what the lock file, or else the hub, says of them.
    Raises DownloadError where the hub cannot give them, and WeightsError where a file is not what it should be.
    """
    _require_library()
    locked = read_lock().get(reference.key, LockedSource())
    commit = reference.commit or locked.commit
    if commit and locked.files:
        try:
            wanted = tuple(choose(tuple(locked.files)))
        except WeightsError:
            wanted = ()  # Another part of the repository was fetched before.
        if wanted and (root := _cached_root(reference.repository, commit, wanted)):
            return Snapshot(commit=commit, root=root, files=wanted)
    if is_offline():
        raise DownloadError(
            f"{reference} is not on this machine and the network is not to be used (HF_HUB_OFFLINE): "
            "download it with a network first (unbraid models download)"
        )
    commit, remote = list_repository(reference, commit)
    wanted = tuple(choose(tuple(remote)))
    fetched: dict[str, LockedFile] = {}
    root: Path | None = None
    total = sum(remote[path].size or 0 for path in wanted)
    for path in wanted:
        before = sum(file.size for file in fetched.values())
        local = _download(reference, commit, path, before, total)
        expected = (pinned or {}).get(path) or (locked.files[path].sha256 if path in locked.files else None)
        fetched[path] = _verify(reference, local, path, remote[path], expected)
        root = Path(*local.parts[: len(local.parts) - path.count("/") - 1])
    if root is None:
        raise WeightsError("holds nothing that can be used", subject=f"{reference}")
    lock_source(reference.key, commit, fetched)
    return Snapshot(commit=commit, root=root, files=wanted)


def cached_snapshot(reference: HubReference, choose: Chooser) -> Snapshot | None:
    """What `fetch_from_hub` would give without the network; None where something is missing."""
    locked = read_lock().get(reference.key, LockedSource())
    commit = reference.commit or locked.commit
    if not commit or not locked.files:
        return None
    try:
        wanted = tuple(choose(tuple(locked.files)))
    except WeightsError:
        return None
    root = _cached_root(reference.repository, commit, wanted)
    return Snapshot(commit=commit, root=root, files=wanted) if root else None


def list_repository(reference: HubReference, commit: str | None = None) -> tuple[str, dict[str, RemoteFile]]:
    """The commit behind a reference and the files of its repository."""
    _require_library()
    from huggingface_hub import HfApi

    with _one_sentence(reference):
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        info = api.model_info(reference.repository, revision=commit or reference.revision, files_metadata=True)
    if info.sha is None or not info.siblings:
        raise DownloadError(f"{reference} is empty: the hub lists no files for it")
    files = {str(file.rfilename): _listed(file) for file in info.siblings}
    # Both become parts of paths on this machine.
    if not is_commit(info.sha) or not all(_is_inside(path) for path in files):
        raise DownloadError(f"what the hub lists for {reference} is no repository: try again later")
    return info.sha, files


def _listed(file: Any) -> RemoteFile:
    """What is said in another form than the hub's is not known."""
    size, sha256 = file.size, getattr(file.lfs, "sha256", None)
    return RemoteFile(
        size=size if isinstance(size, int) and size >= 0 else None,
        sha256=sha256 if isinstance(sha256, str) else None,
        git_sha1=file.blob_id if file.lfs is None and isinstance(file.blob_id, str) else None,
    )


def _is_inside(path: str) -> bool:
    """Whether a path of a repository stays in it, on every system."""
    parts = re.split(r"[/\\]", path)
    return path.isprintable() and ":" not in parts[0] and not any(part in ("", ".", "..") for part in parts)


def push_to_hub(reference: HubReference, folder: Path, *, private: bool = False) -> str:
    """Uploads a folder as a repository, which is made where it is missing, and returns its address."""
    _require_library()
    from huggingface_hub import HfApi

    with _one_sentence(reference, doing="upload"):
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.create_repo(reference.repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=reference.repository,
            folder_path=folder,
            path_in_repo=reference.path,
            revision=reference.revision,
            commit_message="Upload a model with unbraid",
        )
    return str(commit)


def remove_from_cache(reference: HubReference, files: Sequence[str]) -> int:
    """Deletes cached files of a repository and returns how many bytes that freed."""
    freed = 0
    for root in sorted((_cache_dir() / _repository_folder(reference.repository) / "snapshots").glob("*")):
        for path in files:
            if (root / path).is_file():
                freed += (root / path).stat().st_size
                _delete(root / path)
    return freed


def _download(reference: HubReference, commit: str, path: str, before: int, total: int) -> Path:
    """One file; whoever watches is told of it after `before` bytes of other files."""
    from huggingface_hub import hf_hub_download

    with _one_sentence(reference, path):
        return Path(
            hf_hub_download(
                reference.repository,
                path,
                revision=commit,
                cache_dir=_cache_dir(),
                endpoint=os.environ.get("HF_ENDPOINT"),
                tqdm_class=_bar_that_tells(before, total),
            )
        )


def _bar_that_tells(before: int, total: int) -> Any:
    """The progress bar of the hub's library, or one that tells the watcher and draws nothing."""
    tell = watcher()
    if tell is None:
        return None
    from huggingface_hub.utils import tqdm

    class Telling(tqdm):
        def __init__(self, *args: Any, initial: int = 0, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})
            self._fetched = before + initial
            self.update(0)

        def update(self, n: Any = 1) -> None:
            self._fetched += int(n or 0)
            tell(min(self._fetched, total), total or None)

    return Telling


def _verify(reference: HubReference, local: Path, path: str, remote: RemoteFile, expected: str | None) -> LockedFile:
    """The file as it is to be locked; one that is not what it should be is deleted."""
    size, digest = local.stat().st_size, hash_file(local)
    if expected and digest != expected:
        _delete(local)
        raise WeightsError(
            f"{path} of {reference} is not the file that is pinned (its SHA-256 is {digest[:12]}, not "
            f"{expected[:12]}): it was deleted; if its authors replaced it and you trust them, take the entry out of "
            f"{lock_path()}"
        )
    wrong = (
        (remote.size is not None and size != remote.size)
        or (remote.sha256 is not None and digest != remote.sha256)
        or (remote.git_sha1 is not None and remote.sha256 is None and _git_sha1(local) != remote.git_sha1)
    )
    if wrong:
        _delete(local)
        raise WeightsError(
            f"{path} of {reference} arrived damaged, it does not match what the hub lists: it was deleted, try again"
        )
    return LockedFile(size=size, sha256=digest)


def _git_sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _delete(path: Path) -> None:
    """A cached file, and the content that its link points to."""
    target = path.resolve()
    path.unlink(missing_ok=True)
    target.unlink(missing_ok=True)


def _cached_root(repository: str, commit: str, paths: Sequence[str]) -> Path | None:
    root = _cache_dir() / _repository_folder(repository) / "snapshots" / commit
    return root if all((root / path).is_file() for path in paths) else None


def _repository_folder(repository: str) -> str:
    return f"models--{repository.replace('/', '--')}"


def _cache_dir() -> Path:
    """The hub library's own cache; read anew, because the library reads its variables when it is imported."""
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return user_path(chosen) or cache_folder() / "hub"
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return (user_path(home) or cache_folder()) / "hub"


def _require_library() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "hub", "a model from the Hugging Face hub") from error


@contextmanager
def _one_sentence(reference: HubReference, path: str | None = None, doing: str = "download") -> Iterator[None]:
    """Turns whatever the hub's library raises into one sentence; it shows progress on terminals only."""
    from huggingface_hub.utils import disable_progress_bars, logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    except (DownloadError, WeightsError, KeyboardInterrupt):
        raise
    except Exception as error:
        sentence = _explain(error, reference, path, doing)
        if sentence is None:
            raise
        raise DownloadError(sentence) from error
    finally:
        logging.set_verbosity(verbosity)


def _explain(error: BaseException, reference: HubReference, path: str | None, doing: str) -> str | None:
    """What to say of an error of the hub's library; None for what is a defect of ours."""
    from huggingface_hub import errors

    what = f"{path} of {reference}" if path else str(reference)
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    status = next((found for link in chain if (found := _status(link)) is not None), None)
    if any(isinstance(link, errors.GatedRepoError) for link in chain):
        return (
            f"{reference} asks for its owners' consent: give it on the page of the repository, then log in with  "
            "hf auth login  or set HF_TOKEN"
        )
    if any(isinstance(link, errors.RevisionNotFoundError) for link in chain):
        return f"{reference.repository} has no revision '{reference.revision}': check it on the page of the repository"
    if status == 429:
        return f"the hub asks to wait before it gives {what} (too many requests): try again in some minutes"
    if status in (401, 403) and doing == "upload":
        return f"the hub does not let you write to {reference.repository}: log in with  hf auth login  or set HF_TOKEN"
    if status in (401, 403) or any(isinstance(link, errors.RepositoryNotFoundError) for link in chain):
        return (
            f"the hub has no repository {reference.repository} that you may read: check the name, or log in with  "
            "hf auth login  or set HF_TOKEN if it is private"
        )
    if status == 404 or any(isinstance(link, errors.RemoteEntryNotFoundError) for link in chain):
        return f"{what} is not there any more: look at what its repository holds"
    if status is not None:
        return f"the hub answers with an error ({status}) when asked for {what}: try again later"
    for link in chain:
        if isinstance(link, OSError) and (reason := why_not_stored(link)):
            return f"{what} cannot be stored: {reason}"
    if any("Consistency check failed" in str(link) for link in chain):
        return f"{what} arrived incomplete and was not kept: try again"
    if any(_is_of_libraries(link) or isinstance(link, ConnectionError | TimeoutError) for link in chain):
        otherwise = "" if doing == "upload" else ", or take a model of this machine (unbraid models list)"
        return f"the hub cannot be reached to {doing} {what}: check the network{otherwise}"
    if isinstance(error, LookupError | TypeError | ValueError | AttributeError):
        # Of its answers the library believes that they are in order.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        return f"what the hub answers when asked for {what} is not understood ({printable(reason)}): try again later"
    return None


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _is_of_libraries(error: BaseException) -> bool:
    return type(error).__module__.split(".")[0] in _LIBRARIES
