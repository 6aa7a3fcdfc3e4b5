"""What long preparation tells whoever draws it; one bad file in a thousand never stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from unbraid.data.threads import map_as_done
from unbraid.errors import UnbraidError
from unbraid.files.names import printable


@dataclass(frozen=True)
class Planned:
    """What there is to do is known."""

    total: int


@dataclass(frozen=True)
class Prepared:
    """One thing is there under its name."""

    name: str
    skipped: bool = False
    """It was there already."""


@dataclass(frozen=True)
class Failed:
    name: str
    message: str
    """One sentence."""


@dataclass(frozen=True)
class Wrote:
    """Something that stands for the whole, such as a table."""

    path: str
    text: str


PrepareEvent = Planned | Prepared | Failed | Wrote


@dataclass(frozen=True)
class Task:
    """One thing to make."""

    name: str
    make: Callable[[], bool]
    """False if it was there already."""


def run_tasks(tasks: Sequence[Task], jobs: int) -> Iterator[PrepareEvent]:
    """Makes everything, `jobs` at a time, and tells of each as it is done."""
    yield Planned(len(tasks))
    for task, result in map_as_done(_attempt, tasks, jobs):
        yield result if isinstance(result, Failed) else Prepared(task.name, skipped=not result)


def _attempt(task: Task) -> bool | Failed:
    try:
        return task.make()
    except UnbraidError as error:
        return Failed(task.name, str(error))
    except OSError as error:
        return Failed(task.name, f"'{printable(error.filename or task.name)}': {error.strerror or error}")
