"""Shows how a batch goes: bars on a terminal, one line per recording elsewhere, or JSON. Everything is on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from unbraid.cli.messages import LogLevel, complain, emit, is_terminal, one_line
from unbraid.separation.events import Progress


class PlainReport:
    """One line per finished recording."""

    def __init__(self, num_recordings: int, level: LogLevel = "info") -> None:
        self.num_recordings, self.level = num_recordings, level

    @property
    def quiet(self) -> bool:
        """Whether what was done is not said."""
        return self.level in ("error", "warning")

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
        """A recording begins; its length is given where it is known."""

    def advance(self, progress: Progress) -> None:
        """Some more of it is done."""

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        """A recording is done, or skipped; `text` says how, `result` as `--json` does."""
        if not self.quiet:
            self.say(f"[{index + 1}/{self.num_recordings}] {text}")

    def detail(self, sentence: str) -> None:
        """What is of interest when something is not as expected."""
        if self.level == "debug":
            self.say(sentence, kind="debug")

    def warn(self, sentence: str) -> None:
        if self.level != "error":
            self.say(sentence, kind="warning")

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        self.say(sentence, kind="error")

    def end(self, sentence: str, counts: Mapping[str, int]) -> None:
        """All recordings are done, skipped or failed."""
        if not self.quiet:
            self.say(sentence)

    def say(self, sentence: str, kind: str = "") -> None:
        complain(sentence, kind)

    def __enter__(self) -> PlainReport:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveReport(PlainReport):
    """A bar for the current recording and, with several, one for all: percent, speed, time left."""

    def __init__(self, num_recordings: int, level: LogLevel = "info") -> None:
        super().__init__(num_recordings, level)
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

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
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

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        self._end(index)
        super().finish(index, text, result)

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        self._end(index)
        super().fail(index, sentence, result)

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


class JsonReport(PlainReport):
    """A JSON object on a line for everything that happens; docs/separate.md lists them."""

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
        self._place = {"index": index, "input": name}
        emit("start", **self._place, total=self.num_recordings, expected_seconds=expected_seconds)

    def advance(self, progress: Progress) -> None:
        done, expected = progress.done_seconds, progress.expected_seconds
        emit(
            "progress",
            **self._place,
            stage=progress.stage,
            done_seconds=round(done, 3),
            expected_seconds=expected,
            percent=round(min(100.0, 100 * done / expected), 1) if expected else None,
        )

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        emit(result["status"], index=index, **{key: value for key, value in result.items() if key != "status"})

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        emit("failed", index=index, input=result["input"], message=one_line(sentence))

    def end(self, sentence: str, counts: Mapping[str, int]) -> None:
        emit("end", **counts)


def make_report(num_recordings: int, level: LogLevel, *, as_json: bool = False) -> PlainReport:
    if as_json:
        return JsonReport(num_recordings, level)
    return (
        LiveReport(num_recordings, level) if is_terminal() and level != "error" else PlainReport(num_recordings, level)
    )
