"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unbraid.errors import AudioWriteError, UnbraidError
from unbraid.files.leftovers import OLD, forget, partial_path, remove_leftovers
from unbraid.files.names import printable

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder"),
    errno.EFBIG: (
        "this file system does not hold files that large",
        'choose another disk, `container="flac"` or `container="mp3"`',
    ),
    errno.EACCES: ("this user may not write there", "choose another folder"),
    errno.EPERM: ("this user may not write there", "choose another folder"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "choose a shorter one"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "choose another folder"),
    errno.EEXIST: ("a part of its path is a file, not a folder", "choose another folder"),
    errno.EISDIR: ("it is a folder", "choose another name"),
    errno.EPIPE: ("the program that reads the output has ended", "check that program"),
}


def why_not_stored(error: OSError) -> str | None:
    """Why a file system did not take a file; None for another error, of the network say."""
    if error.errno == errno.EIO:
        return "the disk answers with an error"
    reason = _REASONS.get(error.errno or 0)
    return reason[0] if reason else None


@contextmanager
def writing_to(name: str) -> Iterator[None]:
    """Turn what the system says while `name` is written into one sentence."""
    try:
        yield
    except UnbraidError:
        raise
    except OSError as error:
        why, remedy = _REASONS.get(error.errno or 0, (error.strerror or str(error), "choose another folder"))
        raise AudioWriteError(f"cannot write {name}: {why}", remedy=remedy) from error
    except ValueError as error:
        raise AudioWriteError(f"cannot write {name}: {error}") from error


class PendingFile:
    """A hidden temporary file in the folder of its final name, made with that folder if it is missing.

    What would fail at the end (a folder of that name, a name too long) fails at once. Of a name that is a symbolic
    link, the file that it points to is replaced; without `follow_link`, the link itself, so that no link that somebody
    has put into a folder leads out of it.
    """

    def __init__(self, path: str | os.PathLike[str], *, follow_link: bool = True) -> None:
        self.name = f"'{printable(path)}'"
        with writing_to(self.name):
            path = Path(path)
            self.path = Path(os.path.realpath(path)) if follow_link else Path(os.path.realpath(path.parent), path.name)
            self._refuse_others()
            self.partial = partial_path(self.path)
            try:
                descriptor = self._create()
            except FileNotFoundError:
                # Another recording that failed has taken the folder away, which was empty.
                descriptor = self._create()
            self.file: BinaryIO = open(descriptor, "w+b", buffering=1 << 16)  # noqa: SIM115

    def _create(self) -> int:
        if not os.path.isdir(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path.parent)
        return os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)

    def _refuse_others(self) -> None:
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        if not stat.S_ISREG(mode):
            # To put a file in the place of /dev/null would be fatal to the system.
            raise ValueError("it is a device or a pipe, not a file: choose a file name, or - for standard output")

    def seal(self) -> None:
        """Bring everything to the disk and close."""
        if not self.file.closed:
            with writing_to(self.name):
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()

    def discard(self) -> None:
        """Remove the temporary file; harmless after it has got its final name."""
        with suppress(OSError, ValueError):
            # Closing flushes, which fails again on a full disk; the descriptor is closed all the same.
            self.file.close()
        with suppress(OSError):
            self.partial.unlink()
        forget(self.partial)


def write_pending(pending: PendingFile, content: bytes) -> None:
    """Write all of a file that was opened earlier, and give it its name; whatever fails, nothing is left of it."""
    try:
        with writing_to(pending.name):
            pending.file.write(content)
        commit_all([pending])
    finally:
        pending.discard()


def commit_all(files: Sequence[PendingFile]) -> None:
    """Give all files their final names or, if one cannot get it, none; files of those names are then as they were."""
    for file in files:
        file.seal()
    if len(files) == 1:
        with writing_to(files[0].name):
            os.replace(files[0].partial, files[0].path)
        return
    begun: list[PendingFile] = []
    try:
        for file in files:
            begun.append(file)
            with writing_to(file.name):
                _keep_old(file)
                os.replace(file.partial, file.path)
    except BaseException:
        for file in reversed(begun):
            _restore(file)
        raise
    for file in files:
        with suppress(OSError):
            _old(file).unlink()


def _old(file: PendingFile) -> Path:
    return file.partial.with_name(f"{file.partial.name}{OLD}")


def _keep_old(file: PendingFile) -> None:
    """Give the file that is about to be replaced a second name, so that it can come back."""
    if not os.path.lexists(file.path):
        return
    if file.path.is_symlink():
        os.replace(file.path, _old(file))
        return
    if file.path.is_dir():  # made meanwhile
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    try:
        os.link(file.path, _old(file))
    except OSError:  # a file system without hard links
        os.replace(file.path, _old(file))


def _restore(file: PendingFile) -> None:
    with suppress(OSError):
        if os.path.lexists(_old(file)):
            os.replace(_old(file), file.path)
            # A rename between two names of the same file does nothing.
            _old(file).unlink(missing_ok=True)
        elif not file.partial.exists():
            file.path.unlink()
