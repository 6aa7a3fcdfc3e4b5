"""Hands jobs to workers that may die, and hands their events on; a job whose worker died is tried again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from unbraid.errors import DeviceError
from unbraid.output.config import OutputConfig
from unbraid.output.jobs import (
    BatchEvent,
    Job,
    RecordingDone,
    RecordingFailed,
    RecordingSkipped,
    RecordingStarted,
)
from unbraid.output.record import ModelIdentity
from unbraid.separation.config import SeparationConfig


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a worker needs to know beside its jobs."""

    model: str
    """As the user names it."""
    identity: ModelIdentity
    config: SeparationConfig
    output: OutputConfig
    resume: bool = False


@dataclass(frozen=True)
class WorkerLost:
    """A worker was killed or broke down; another has taken its place."""


class Crew(ABC):
    """Workers, by their numbers from 0."""

    num_workers: int
    jobs_ahead: int
    """How many jobs a worker has at a time."""

    @abstractmethod
    def give(self, worker: int, index: int, job: Job) -> None:
        """Another job for a worker."""

    @abstractmethod
    def next(self) -> tuple[int, BatchEvent | WorkerLost]:
        """Waits for whatever a worker tells."""

    @abstractmethod
    def close(self) -> None:
        """No more is wanted: workers remove what they have begun and end."""


def dispatch(jobs: Sequence[Job], crew: Crew, retries: int) -> Generator[BatchEvent, None, None]:
    """The events of all jobs, each given to whichever worker is free."""
    waiting, again = deque(enumerate(jobs)), deque[tuple[int, Job]]()
    held: list[dict[int, Job]] = [{} for _ in range(crew.num_workers)]
    begun, losses = set[int](), Counter[int]()

    def fill(worker: int) -> None:
        # What may have killed a worker is tried alone, so that it takes no others with it.
        while again and not held[worker]:
            index, job = again.popleft()
            held[worker][index] = job
            crew.give(worker, index, job)
            return
        while waiting and not again and len(held[worker]) < crew.jobs_ahead and not (held[worker].keys() & losses):
            index, job = waiting.popleft()
            held[worker][index] = job
            crew.give(worker, index, job)

    try:
        # In turn, so that few jobs are spread over all workers.
        for _ in range(crew.jobs_ahead):
            for worker in range(crew.num_workers):
                if waiting:
                    index, job = waiting.popleft()
                    held[worker][index] = job
                    crew.give(worker, index, job)
        while any(held):
            worker, event = crew.next()
            if isinstance(event, WorkerLost):
                lost, held[worker] = held[worker], {}
                for index, job in lost.items():
                    if index not in begun:
                        waiting.appendleft((index, job))
                        continue
                    begun.discard(index)
                    losses[index] += 1
                    if losses[index] <= retries:
                        again.append((index, job))
                    else:
                        yield _given_up(index, job, losses[index])
            else:
                if isinstance(event, RecordingStarted):
                    begun.add(event.index)
                elif isinstance(event, RecordingDone | RecordingSkipped | RecordingFailed):
                    held[worker].pop(event.index, None)
                    begun.discard(event.index)
                yield event
            for each in range(crew.num_workers):
                fill(each)
    finally:
        crew.close()


def _given_up(index: int, job: Job, losses: int) -> RecordingFailed:
    times = "once" if losses == 1 else f"{losses} times"
    error = DeviceError(
        f"'{job.name}' could not be separated: its worker was killed or broke down {times}",
        remedy="see whether memory suffices, and choose smaller `segment_seconds` or fewer workers",
    )
    return RecordingFailed(index=index, job=job, message=str(error), error=error)
