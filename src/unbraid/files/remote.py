"""Files behind addresses such as s3://bucket/talk.wav, through fsspec: looked for, read from start to end, and put."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from unbraid.errors import AudioReadError, AudioWriteError, MissingExtraError, UnbraidError
from unbraid.files.names import printable
from unbraid.files.protocols import Readable

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*(?:::[a-z][a-z0-9+.-]*)*://")
_LOCAL_PART = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True)
class Url(os.PathLike[str]):
    """An address, where else a path stands; `pathlib` would make one slash of two."""

    text: str

    def __fspath__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, path: PurePath | str) -> Url:
        below = path.as_posix() if isinstance(path, PurePath) else path
        return Url(f"{self.text.rstrip('/')}/{below}")


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether a name is an address for fsspec; no path of this machine is one."""
    text = os.fspath(text)
    return isinstance(text, str) and _ADDRESS.match(text) is not None and _LOCAL_PART.match(text) is None


@dataclass(frozen=True)
class RemoteFacts:
    """What a store tells of a file without sending it."""

    bytes: int
    version: str
    """Another where the file is another: the store's own mark, or what it tells of size and time."""


def facts_of(url: str) -> RemoteFacts:
    """As they are now."""
    with _reading(url):
        system, path = _system(url)
        system.invalidate_cache()
        return RemoteFacts(int(system.info(path)["size"] or 0), str(system.ukey(path)))


@contextmanager
def open_url(url: str) -> Iterator[Readable]:
    """The bytes of a file, in order."""
    with _reading(url):
        system, path = _system(url)
        with system.open(path, "rb") as file:
            yield file


def read_url(url: str) -> bytes:
    """All of a short file."""
    with open_url(url) as file:
        return file.read()


def find_files(url: str, extensions: Iterable[str]) -> list[tuple[Url, PurePath]]:
    """The file itself; or of a folder or a pattern, sorted, those with such an extension that are not hidden, with
    their path below it."""
    with _reading(url):
        system, path = _system(url)
        if any(letter in path for letter in "*?["):
            names = sorted(name for name in system.glob(path) if not system.isdir(name))
            return [(_url(system, name), PurePath(PurePath(name).name)) for name in names]
        if not system.isdir(path):
            system.info(path)  # one that is not there is told of here
            return [(Url(url), PurePath(PurePath(path).name))]
        wanted = tuple(f".{extension}" for extension in extensions)
        found = []
        for name in sorted(system.find(path)):
            below = PurePath(name[len(path) :].lstrip("/"))
            if below.suffix.lower() in wanted and not any(part.startswith(".") for part in below.parts):
                found.append((_url(system, name), below))
        return found


def put_files(files: Iterable[tuple[Path, Url]]) -> None:
    """Uploads files in order; each appears whole or not at all, as stores of objects have it."""
    for path, url in files:
        with _writing(url.text):
            system, target = _system(url.text)
            parent = target.rsplit("/", 1)[0]
            system.makedirs(parent, exist_ok=True)
            system.put_file(str(path), target)


def remove_url(url: Url) -> None:
    """Takes a file away that may be there."""
    with _writing(url.text):
        system, path = _system(url.text)
        if system.exists(path):
            system.rm_file(path)


def _url(system: Any, name: str) -> Url:
    return Url(system.unstrip_protocol(name))


def _system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingExtraError("fsspec", "cloud", f"'{printable(url)}'") from error
    system, path = fsspec.core.url_to_fs(url)
    return system, path


@contextmanager
def _reading(url: str) -> Iterator[None]:
    with _one_sentence(url, AudioReadError, "cannot be read"):
        yield


@contextmanager
def _writing(url: str) -> Iterator[None]:
    with _one_sentence(url, AudioWriteError, "cannot be written"):
        yield


@contextmanager
def _one_sentence(url: str, kind: type[UnbraidError], what: str) -> Iterator[None]:
    """Turns what a store says, in errors of its own classes, into one sentence."""
    name = f"'{printable(url)}'"
    try:
        yield
    except UnbraidError:
        raise
    except FileNotFoundError as error:
        raise kind("does not exist", subject=name, remedy="check the address") from error
    except ImportError as error:  # fsspec names the package that it needs
        raise kind(f"{what} ({error})", subject=name, remedy="install that package with pip") from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise kind(f"{what} ({reason[:200]})", subject=name, remedy="check the address and your credentials") from error
