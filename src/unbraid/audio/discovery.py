"""Finds the recordings that a command line names: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from unbraid.errors import AudioReadError, UnbraidError
from unbraid.files.names import printable
from unbraid.files.remote import Url, find_files, is_url

_EXTENSIONS = """
    wav wave bwf rf64 w64 aif aiff aifc flac ogg oga opus mp3 mp2 caf au snd m4a m4b aac alac wma ac3 eac3 dts amr ape
    wv tta mka mp4 m4v mov mkv webm avi wmv mpg mpeg ts mts m2ts flv 3gp ogv mxf
"""
AUDIO_EXTENSIONS = frozenset(_EXTENSIONS.split())
"""What is taken for a recording in a folder, video included; a file that is named itself may be called anything."""


@dataclass(frozen=True)
class AudioFile:
    """A recording to work on."""

    path: Path | Url
    """Where it is; Path("-") is standard input."""
    relative: PurePath
    """Its path below the folder that was given, or its bare name; the output tree can mirror it."""


@dataclass(frozen=True)
class Discovery:
    """What was found, and what was named and is not there."""

    files: tuple[AudioFile, ...]
    errors: tuple[UnbraidError, ...]


def discover_audio(inputs: Iterable[str | os.PathLike[str]]) -> Discovery:
    """Resolve files, folders (searched all the way down, sorted) and patterns such as *.wav, also behind addresses.

    In folders and patterns, hidden files, pipes and devices are skipped; one that is named itself is read.

    A file named more than once is found once. A name that exists is never taken for a pattern.
    """
    found: dict[str, AudioFile] = {}
    errors: list[UnbraidError] = []
    for item in inputs:
        try:
            for file in _resolve(os.fspath(item)):
                found.setdefault(str(file.path) if is_url(file.path) else os.path.realpath(file.path), file)
        except AudioReadError as error:
            errors.append(error)
    return Discovery(tuple(found.values()), tuple(errors))


def _resolve(item: str) -> Iterator[AudioFile]:
    if item == "-":
        yield AudioFile(Path("-"), PurePath("stdin"))
    elif is_url(item):
        yield from _remote(item)
    elif os.path.isdir(item):
        yield from _folder(item)
    elif os.path.lexists(item):
        yield AudioFile(Path(item), PurePath(os.path.basename(item)))
    elif glob.has_magic(item):
        matches = sorted(glob.glob(os.path.expanduser(item), recursive=True))
        if not matches:
            raise AudioReadError(f"nothing matches '{printable(item)}'", remedy="check the pattern")
        files = [match for match in matches if not os.path.isdir(match) and _may_be_file(match)]
        for match in files or matches:
            yield from _resolve(match)
    else:
        raise AudioReadError("does not exist", subject=f"'{printable(item)}'", remedy="check the name and the folder")


def _remote(url: str) -> Iterator[AudioFile]:
    files = [AudioFile(file, relative) for file, relative in find_files(url, AUDIO_EXTENSIONS)]
    if not files:
        raise AudioReadError(f"there are no recordings at '{printable(url)}'", remedy="check the address")
    yield from files


def _folder(folder: str) -> Iterator[AudioFile]:
    count = 0
    seen: set[str] = set()
    unreadable: list[OSError] = []
    for root, folders, names in os.walk(folder, followlinks=True, onerror=unreadable.append):
        # A link to a folder above would lead round in a circle.
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _is_audio(name) and _may_be_file(os.path.join(root, name)):
                count += 1
                path = Path(root, name)
                yield AudioFile(path, path.relative_to(folder))
    if unreadable:
        raise AudioReadError(
            f"the folder '{printable(unreadable[0].filename)}' cannot be read ({unreadable[0].strerror})",
            remedy="change its permissions",
        )
    if count == 0:
        raise AudioReadError(
            f"the folder '{printable(folder)}' holds no recordings (.wav, .flac, .mp3, .m4a, .mp4, …)",
            remedy="name another, or name the files themselves",
        )


def _may_be_file(path: str) -> bool:
    """False for pipes, sockets and devices, which may never end; a link to nothing is told of when it is opened."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _is_audio(name: str) -> bool:
    extension = os.path.splitext(name)[1].lower().removeprefix(".")
    return extension in AUDIO_EXTENSIONS
