"""What can go wrong on the user's side, each as one sentence that says what to do next.

The command line prints the message of an `UnbraidError` on stderr and exits with a non-zero status. Anything else that
escapes is a defect of ours and keeps its traceback.

Messages name settings as Python has them, in backticks (`device="cpu"`); the command line turns those into its options.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound="UnbraidError")


class UnbraidError(Exception):
    """A problem the user can mend: what it is about, what is wrong, and what to do, read as one sentence.

        AudioReadError("is empty", subject="'a.wav'", remedy="get another copy")    # 'a.wav' is empty: get another copy

    A subject or remedy that is not given apart is part of the reason, or there is none.
    """

    def __init__(self, reason: str, *, subject: str = "", remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.subject, self.remedy = reason, subject, remedy

    @classmethod
    def of(cls: type[Kind], error: UnbraidError) -> Kind:
        """The same problem, as one of this kind."""
        return cls(error.reason, subject=error.subject, remedy=error.remedy)

    @property
    def predicate(self) -> str:
        """The sentence without its subject, for a place where that is named already."""
        return f"{self.reason}: {self.remedy}" if self.remedy else self.reason

    def __str__(self) -> str:
        return f"{self.subject} {self.predicate}" if self.subject else self.predicate

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors come back from other processes, whatever the subclass is made from.
        return _rebuilt, (type(self), self.__dict__)


def _rebuilt(kind: type[UnbraidError], state: dict[str, Any]) -> UnbraidError:
    error = kind.__new__(kind, state["reason"])
    error.__dict__.update(state)
    return error


class AudioReadError(UnbraidError):
    """A recording cannot be read: missing, empty, not audio, truncated, or holding samples that are not numbers."""


class AudioWriteError(UnbraidError):
    """A recording cannot be written: no permission, no space, or a format that cannot hold it."""


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """The question, where something is called nearly so."""
    near = difflib.get_close_matches(name, list(names), n=2, cutoff=0.7)
    return f"did you mean {' or '.join(near)}?" if near else None


class WeightsError(UnbraidError):
    """A weights file is missing, damaged, of an unknown format, or does not fit its model."""


class DownloadError(UnbraidError):
    """A model cannot be fetched or sent: no network, no permission, or a server that refuses."""


class UnknownNameError(UnbraidError):
    """A model, preset, recipe or source of that name does not exist; the message lists those that do."""


class ConfigError(UnbraidError, ValueError):
    """A setting is out of its range or does not go with another one."""


class DataError(UnbraidError):
    """A data set is not laid out as expected or holds too little for what was asked."""


class SignalError(UnbraidError, ValueError):
    """Two signals that are to be compared do not match, or a signal is too short to be measured."""


class DivergedError(UnbraidError):
    """Training has led to weights that are not numbers; the checkpoint before is kept."""


class DeviceError(UnbraidError):
    """The requested device is not there, or its memory does not suffice."""


class DiskSpaceError(UnbraidError):
    """Temporary files do not fit where they are put."""


class MissingPackageError(UnbraidError):
    """A package that unbraid comes with is not there, as on a machine to which only the code was copied."""

    def __init__(self, package: str) -> None:
        super().__init__("is not installed", subject=f"the package '{package}'", remedy=f"pip install {package}")


class MissingExtraError(UnbraidError):
    """An optional package is needed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"needs the package '{package}'", subject=purpose, remedy=f"install it with  pip install 'unbraid[{extra}]'"
        )
