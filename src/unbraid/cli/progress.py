"""Shows how a batch goes: bars on a terminal, one line per recording elsewhere, or JSON. Everything is on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        self._num_finished = 0

    @property
    def quiet(self) -> bool:
        """Whether what was done is not said."""
        return self.level in ("error", "warning")

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
        """A recording begins; its length is given where it is known."""

    def advance(self, index: int, progress: Progress) -> None:
        """Some more of that recording is done."""

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        """A recording is done, or skipped; `text` says how, `result` as `--json` does."""
        self._num_finished += 1
        if not self.quiet:
            self.say(f"[{self._num_finished}/{self.num_recordings}] {text}")

    def detail(self, sentence: str) -> None:
        """What is of interest when something is not as expected."""
        if self.level == "debug":
            self.say(sentence, kind="debug")

    def warn(self, sentence: str) -> None:
        if self.level != "error":
            self.say(sentence, kind="warning")

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        self._num_finished += 1
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


@dataclass
class _InWork:
    """A recording that has begun."""

    name: str
    expected_seconds: float | None
    stage: str = "separate"
    began: float = field(default_factory=time.monotonic)
    done_seconds: float = 0.0
    share: float = 0.0
    """What has been through the model."""


class LiveReport(PlainReport):
    """A bar for the recording that began first of those in work and, with several, one for all: percent, speed, time
    left."""

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
        self._in_work: dict[int, _InWork] = {}

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
        self._in_work[index] = _InWork(name if len(name) <= 40 else f"…{name[-39:]}", expected_seconds)
        if len(self._in_work) == 1:
            self._show_first()

    def advance(self, index: int, progress: Progress) -> None:
        one = self._in_work[index]
        is_first = index == next(iter(self._in_work))
        if progress.stage != one.stage:
            one.stage, one.name = progress.stage, f"{one.name}: joining speakers"
            one.began, one.expected_seconds = time.monotonic(), progress.expected_seconds
            if is_first:
                self._show_first()
        one.done_seconds = progress.done_seconds
        if progress.stage == "separate" and progress.expected_seconds:
            one.share = min(1.0, progress.done_seconds / progress.expected_seconds)
        if is_first:
            elapsed = time.monotonic() - one.began
            speed = f"{progress.done_seconds / elapsed:.1f}x real time" if elapsed > 0.5 else ""
            self._bars.update(self._one, completed=progress.done_seconds, total=progress.expected_seconds, speed=speed)
        self._show_all()

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        super().finish(index, text, result)
        self._end(index)

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        super().fail(index, sentence, result)
        self._end(index)

    def say(self, sentence: str, kind: str = "") -> None:
        line = one_line(sentence)
        text = Text(f"{kind}: {line}" if kind else line, style={"error": "bold red", "warning": "yellow"}.get(kind, ""))
        self._bars.console.print(text, soft_wrap=True)

    def __enter__(self) -> LiveReport:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _show_first(self) -> None:
        one = next(iter(self._in_work.values()), None)
        if one is None:
            self._bars.update(self._one, visible=False)
            return
        self._bars.reset(self._one, description=one.name, total=one.expected_seconds, speed="", visible=True)
        self._bars.update(self._one, completed=one.done_seconds)

    def _show_all(self) -> None:
        in_work = sum(one.share for one in self._in_work.values())
        self._bars.update(self._all, completed=self._num_finished + in_work)

    def _end(self, index: int) -> None:
        was_first = index == next(iter(self._in_work), index)
        self._in_work.pop(index, None)
        if was_first:
            self._show_first()
        self._show_all()


class JsonReport(PlainReport):
    """A JSON object on a line for everything that happens; docs/separate.md lists them."""

    def __init__(self, num_recordings: int, level: LogLevel = "info") -> None:
        super().__init__(num_recordings, level)
        self._names: dict[int, str] = {}
        """Of the recordings that are in work."""

    def start(self, index: int, name: str, expected_seconds: float | None) -> None:
        self._names[index] = name
        emit("start", index=index, input=name, total=self.num_recordings, expected_seconds=expected_seconds)

    def advance(self, index: int, progress: Progress) -> None:
        done, expected = progress.done_seconds, progress.expected_seconds
        emit(
            "progress",
            index=index,
            input=self._names[index],
            stage=progress.stage,
            done_seconds=round(done, 3),
            expected_seconds=expected,
            percent=round(min(100.0, 100 * done / expected), 1) if expected else None,
        )

    def finish(self, index: int, text: str, result: Mapping[str, Any]) -> None:
        self._names.pop(index, None)
        emit(result["status"], index=index, **{key: value for key, value in result.items() if key != "status"})

    def fail(self, index: int, sentence: str, result: Mapping[str, Any]) -> None:
        self._names.pop(index, None)
        emit("failed", index=index, input=result["input"], message=one_line(sentence))

    def end(self, sentence: str, counts: Mapping[str, int]) -> None:
        emit("end", **counts)


def make_report(num_recordings: int, level: LogLevel, *, as_json: bool = False) -> PlainReport:
    if as_json:
        return JsonReport(num_recordings, level)
    return (
        LiveReport(num_recordings, level) if is_terminal() and level != "error" else PlainReport(num_recordings, level)
    )
