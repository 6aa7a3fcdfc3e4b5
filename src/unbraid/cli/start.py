"""What runs first: Ctrl-C ends quietly while the command line is still being imported and read."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGINT, _end_at_once)
    from unbraid.cli.main import main as run

    run()


def begin_command() -> None:
    """From here on Ctrl-C is an exception, which lets a command clean up."""
    from unbraid.cli.messages import speak_json

    speak_json(False)
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(number: int, frame: object) -> None:
    """Nothing has begun yet, and an exception within an import would show where."""
    sys.stderr.write("interrupted; nothing half-written is left behind\n")
    sys.stderr.flush()
    os._exit(130)
