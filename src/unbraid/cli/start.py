"""What runs first: Ctrl-C ends quietly while the command line is still being imported."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGINT, _end_at_once)
    from unbraid.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end_at_once(number: int, frame: object) -> None:
    """Nothing has begun yet, and an exception within an import would show where."""
    sys.stderr.write("interrupted; nothing half-written is left behind\n")
    sys.stderr.flush()
    os._exit(130)
