"""Where encoded audio comes from, as something that can be seeked: a path, an address, a pipe, bytes, a file object."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unbraid.audio.sniffing import SNIFF_BYTES, begins_like_audio
from unbraid.errors import AudioReadError, ConfigError
from unbraid.files.names import printable
from unbraid.files.protocols import Readable, Seekable
from unbraid.files.remote import RemoteFacts, facts_of, is_url, open_url
from unbraid.files.scratch import no_room, open_scratch

_BLOCK_BYTES = 1 << 20
_MOST_STREAMED_BYTES = 16 << 30
"""ours: a day of 24-bit stereo at 32 kHz."""
_MOST_UNKNOWN_BYTES = 64 << 20
"""ours: of a stream that begins like nothing that is known, so that a device does not fill the disk."""

AudioSource = str | os.PathLike[str] | bytes | Readable


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What was read, to be recognised by."""

    bytes: int
    modified_ns: int | None
    """When the file was changed last, in nanoseconds since 1970; None of what is no file."""
    sha256: str
    """Of all its bytes."""
    version: str | None = None
    """What a store calls this version of a file behind an address."""


class Source:
    """Hands out independent seekable views of one piece of encoded audio.

    What cannot be seeked (a pipe, standard input) or lies behind an address (s3://bucket/a.wav) is first copied to a
    temporary file that disappears with this object.
    Size and time of a file are noted when it is opened: one that is another by the time it is read again is refused.
    """

    def __init__(self, source: AudioSource) -> None:
        self._path: str | None = None
        self._opened: tuple[int, int] | None = None
        """Size and time of change of a file when it was opened."""
        self._remote: tuple[str, RemoteFacts] | None = None
        """The address of a file that was copied from there, and what was told of it."""
        self._lock = threading.Lock()
        self._start = 0
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.name = "the given bytes"
            self._file: Seekable = io.BytesIO(source)
        elif isinstance(source, (str, os.PathLike)):
            if os.fspath(source) == "-":
                self.name = "standard input"
                self._file = _spool(standard_input(), self)
            elif is_url(source):
                self.name = f"'{printable(source)}'"
                self._file = self._copy(os.fspath(source))
            else:
                self.name = f"'{printable(source)}'"
                self._file = self._open_path(source)
        else:
            self.name = _name_of(source)
            self._file = self._take_file(source)
        self.size = self._measure()
        """Bytes."""
        if self.size == 0:
            raise AudioReadError(
                "is empty (0 bytes)", subject=self.name, remedy="check that it was recorded or downloaded completely"
            )

    def open(self) -> str | io.BufferedReader:
        """A path where there is one, which decoders read fastest, else an independent view."""
        if self._path is None:
            return self.view()
        self._refuse_other(self._path)
        return self._path

    def view(self) -> io.BufferedReader:
        """An independent binary file object on the whole, positioned at its start."""
        if self._path is not None:
            self._refuse_other(self._path)
            with _reading(self.name):
                return open(self._path, "rb")
        return io.BufferedReader(_View(self))

    def part(self, start: int, size: int) -> Source:
        """The same source as if it held these bytes only."""
        part = object.__new__(Source)
        part.name, part.size = self.name, size
        part._path, part._opened, part._lock, part._start = None, None, threading.Lock(), start
        part._remote = None
        part._file = self.view()
        weakref.finalize(part, part._file.close)
        return part

    def read_at(self, position: int, count: int) -> bytes:
        """Bytes at a position, safe to call from several views in turn."""
        with self._lock:
            self._file.seek(self._start + position)
            return self._file.read(max(0, min(count, self.size - position)))

    def verify(self) -> None:
        """Raises AudioReadError if the file that was opened has been written to since."""
        if self._opened is not None and isinstance(self._file, io.BufferedReader):
            self._refuse_other(self._file.fileno())
        if self._remote is not None and facts_of(self._remote[0]) != self._remote[1]:
            raise self._changed()

    def facts(self) -> SourceFacts:
        """What was read; reads it once more, for its hash."""
        digest = hashlib.sha256()
        for start in range(0, self.size, _BLOCK_BYTES):
            digest.update(self.read_at(start, min(_BLOCK_BYTES, self.size - start)))
        self.verify()
        modified_ns = None if self._opened is None else self._opened[1]
        version = None if self._remote is None else self._remote[1].version
        return SourceFacts(bytes=self.size, modified_ns=modified_ns, sha256=digest.hexdigest(), version=version)

    def _refuse_other(self, place: str | int) -> None:
        with _reading(self.name):
            found = os.stat(place)
        if (found.st_size, found.st_mtime_ns) != self._opened:
            raise self._changed()

    def _changed(self) -> AudioReadError:
        return AudioReadError(
            "was changed or replaced while it was read", subject=self.name, remedy="run it again once it is whole"
        )

    def _copy(self, url: str) -> Seekable:
        told = facts_of(url)
        with open_url(url) as stream:
            file = _spool(stream, self)
        # Larger or smaller where it was written to while it was copied; what has the same size is told at the end.
        if file.seek(0, io.SEEK_END) != told.bytes:
            raise self._changed()
        self._remote = url, told
        return file

    def _open_path(self, source: str | os.PathLike[str]) -> Seekable:
        with _reading(self.name):
            # An absolute path cannot be taken for a protocol such as "concat:" by libav.
            path = os.path.abspath(os.fspath(source))
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError
            file = open(path, "rb")  # noqa: SIM115
        if not stat.S_ISREG(mode):
            with file:
                return _spool(file, self)
        weakref.finalize(self, file.close)
        opened = os.fstat(file.fileno())
        self._opened = opened.st_size, opened.st_mtime_ns
        # The decoders want UTF-8; a file object does not show them the name.
        with suppress(UnicodeEncodeError):
            path.encode("utf-8")
            # soundfile takes what is called .raw for samples without a header and does not look inside.
            if not path.lower().endswith(".raw"):
                self._path = path
        return file

    def _take_file(self, file: Readable) -> Seekable:
        if not isinstance(file, Readable):
            raise ConfigError(
                f"cannot read audio from {type(file).__name__}", remedy="give a path, bytes or a binary file object"
            )
        try:
            nothing = file.read(0)
        except (OSError, ValueError) as error:  # closed, or open for writing
            raise ConfigError(f"cannot be read ({error})", subject=self.name, remedy="open it for reading") from error
        if not isinstance(nothing, bytes):
            raise ConfigError("is open as text", subject=self.name, remedy="open it in binary mode, open(path, 'rb')")
        seekable = getattr(file, "seekable", None)
        if not isinstance(file, Seekable) or (callable(seekable) and not seekable()):
            return _spool(file, self)
        self._start = file.tell()
        return file

    def _measure(self) -> int:
        if self._opened is not None:
            return self._opened[0]
        return self._file.seek(0, io.SEEK_END) - self._start


class _View(io.RawIOBase):
    """A read-only file object with a position of its own on a Source that has no path."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer) -> int:
        data = self._source.read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what the system says about a path into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise AudioReadError("does not exist", subject=name, remedy="check the name and the folder") from error
    except IsADirectoryError as error:
        raise AudioReadError("is a folder", subject=name, remedy="name a recording in it") from error
    except PermissionError as error:
        raise AudioReadError("may not be read by this user", subject=name, remedy="change its permissions") from error
    except OSError as error:
        raise AudioReadError(
            f"cannot be opened ({error.strerror or error})", subject=name, remedy="check the name and the disk"
        ) from error
    except ValueError as error:
        raise AudioReadError(f"is not a file name ({error})", subject=name, remedy="check it") from error


def standard_input() -> Readable:
    """The bytes of standard input; AudioReadError where nothing is piped into it."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise AudioReadError("standard input is closed", remedy="pipe a recording into it")
    if stream.isatty():
        raise AudioReadError(
            "standard input is a terminal", remedy="pipe a recording into it, as in  cat talk.wav | unbraid …"
        )
    return stream


def _spool(stream: Readable, owner: Source) -> Seekable:
    spool = open_scratch()
    weakref.finalize(owner, spool.close)
    try:
        head = _read_fully(stream, SNIFF_BYTES)
        limit = _MOST_STREAMED_BYTES if begins_like_audio(head) else _MOST_UNKNOWN_BYTES
        count = spool.write(head)
        while block := stream.read(_BLOCK_BYTES):
            count += spool.write(block)
            if count > limit:
                raise AudioReadError(
                    f"gives more than {limit >> 20:,} MiB"
                    + ("" if limit == _MOST_STREAMED_BYTES else ", and does not begin as recordings do"),
                    subject=owner.name,
                    remedy="give a recording, or store it as a file and name that",
                )
        spool.flush()
    except OSError as error:
        raise no_room(f"what {owner.name} gives", error) from error
    return spool


def _read_fully(stream: Readable, count: int) -> bytes:
    """A pipe may give less than it is asked for."""
    parts = b""
    while len(parts) < count and (part := stream.read(count - len(parts))):
        parts += part
    return parts


def _name_of(file: object) -> str:
    name = getattr(file, "name", None)
    return f"'{printable(name)}'" if isinstance(name, (str, Path)) else "the given file object"
