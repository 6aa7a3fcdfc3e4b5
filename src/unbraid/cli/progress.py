"""Shows how a batch goes: bars on a terminal, one line per recording elsewhere. Everything is on stderr."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from unbraid.cli.messages import complain, is_terminal, one_line
from unbraid.separation.events import Progress


class PlainReport:
    """One line per finished recording."""

    def __init__(self, num_recordings: int, *, quiet: bool = False) -> None:
        self.num_recordings, self.quiet = num_recordings, quiet

    def start(self, name: str, expected_seconds: float | None) -> None:
        """A recording begins; its length is given where it is known."""

    def advance(self, progress: Progress) -> None:
        """Some more of it is done."""

    def finish(self, index: int, text: str) -> None:
        """A recording is done; `text` says how."""
        if not self.quiet:
            self.say(f"[{index + 1}/{self.num_recordings}] {text}")

    def warn(self, sentence: str) -> None:
        if not self.quiet:
            self.say(sentence, kind="warning")

    def fail(self, index: int, sentence: str) -> None:
        self.say(sentence, kind="error")

    def say(self, sentence: str, kind: str = "") -> None:
        complain(sentence, kind)

    def __enter__(self) -> PlainReport:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveReport(PlainReport):
    """A bar for the current recording and, with several, one for all: percent, speed, time left."""

    def __init__(self, num_recordings: int) -> None:
        super().__init__(num_recordings)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        self._all = self._bars.add_task("all recordings", total=num_recordings, speed="", visible=num_recordings > 1)
        self._one = self._bars.add_task("", total=None, speed="", visible=False)
        self._stage, self._began, self._finished = "", 0.0, 0

    def start(self, name: str, expected_seconds: float | None) -> None:
        self._name = name if len(name) <= 40 else f"…{name[-39:]}"
        self._stage = "separate"
        self._begin(self._name, expected_seconds)

    def advance(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._begin(f"{self._name}: joining speakers", progress.expected_seconds)
        elapsed = time.monotonic() - self._began
        speed = f"{progress.done_seconds / elapsed:.1f}x real time" if elapsed > 0.5 else ""
        self._bars.update(self._one, completed=progress.done_seconds, total=progress.expected_seconds, speed=speed)
        if progress.stage == "separate" and progress.expected_seconds:
            share = min(1.0, progress.done_seconds / progress.expected_seconds)
            self._bars.update(self._all, completed=self._finished + share)

    def finish(self, index: int, text: str) -> None:
        self._end(index)
        super().finish(index, text)

    def fail(self, index: int, sentence: str) -> None:
        self._end(index)
        super().fail(index, sentence)

    def say(self, sentence: str, kind: str = "") -> None:
        line = one_line(sentence)
        text = Text(f"{kind}: {line}" if kind else line, style={"error": "bold red", "warning": "yellow"}.get(kind, ""))
        self._bars.console.print(text, soft_wrap=True)

    def __enter__(self) -> LiveReport:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _begin(self, name: str, expected_seconds: float | None) -> None:
        self._began = time.monotonic()
        self._bars.reset(self._one, description=name, total=expected_seconds, speed="", visible=True)

    def _end(self, index: int) -> None:
        self._finished = index + 1
        self._bars.update(self._one, visible=False)
        self._bars.update(self._all, completed=self._finished)


def make_report(num_recordings: int, *, quiet: bool) -> PlainReport:
    return LiveReport(num_recordings) if is_terminal() and not quiet else PlainReport(num_recordings, quiet=quiet)
