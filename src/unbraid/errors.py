"""What can go wrong on the user's side, each as one sentence that says what to do next.

The command line prints the message of an `UnbraidError` on stderr and exits with a non-zero status. Anything else that
escapes is a defect of ours and keeps its traceback.
"""


class UnbraidError(Exception):
    """A problem the user can mend; the message is one sentence, names the thing and says what to do."""


class AudioReadError(UnbraidError):
    """A recording cannot be read: missing, empty, not audio, truncated, or holding samples that are not numbers."""


class AudioWriteError(UnbraidError):
    """A recording cannot be written: no permission, no space, or a format that cannot hold it."""


class WeightsError(UnbraidError):
    """A weights file is missing, damaged, of an unknown format, or does not fit its model."""


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


class MissingExtraError(UnbraidError):
    """An optional package is needed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': install it with  pip install 'unbraid[{extra}]'")
