"""Workers that are processes of this machine, one on each device, each with the model."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from unbraid.errors import DeviceError, UnbraidError
from unbraid.output.engines.dispatch import Crew, Task, WorkerLost
from unbraid.output.jobs import BatchEvent, Job, RecordingFailed

_MOST_LOSSES_AT_START = 3
_GRACE_SECONDS = 30.0
"""For a worker to remove what it has begun."""


class ProcessCrew(Crew):
    """A process for each device."""

    def __init__(self, task: Task, devices: Sequence[str], num_threads: int = 0) -> None:
        """`num_threads` are shared out among the workers; 0 takes a thread for every processor."""
        self.num_workers = len(devices)
        # As many as it has lanes, and one that is ready when another is done; a model on a GPU has more lanes.
        self.jobs_ahead = 4 if all(device == "cpu" for device in devices) else 2 * (task.config.batch_size or 8) + 2
        self._task, self._devices = task, devices
        self._threads = max(1, (num_threads or _num_processors()) // len(devices))
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[Any, Connection]] = []
        self._is_ready = [False] * self.num_workers
        self._losses_at_start = 0
        self._arrived: list[tuple[int, BatchEvent | WorkerLost]] = []
        try:
            for device in devices:
                self._workers.append(self._start(device))
        except BaseException:
            self.close()
            raise

    def give(self, worker: int, index: int, job: Job) -> None:
        # Of one that has died, `next` is told as well.
        with suppress(OSError):
            self._workers[worker][1].send((index, job))

    def next(self) -> tuple[int, BatchEvent | WorkerLost]:
        while not self._arrived:
            connections = {connection: worker for worker, (_, connection) in enumerate(self._workers)}
            for connection in wait(list(connections)):
                self._receive(connections[connection], connection)  # type: ignore[index]
        return self._arrived.pop(0)

    def _receive(self, worker: int, connection: Any) -> None:
        try:
            message = connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._replace(worker)
            return
        if message is None:
            self._is_ready[worker] = True
        elif isinstance(message, BaseException):
            raise message
        else:
            self._arrived.append((worker, message))

    def _replace(self, worker: int) -> None:
        process, connection = self._workers[worker]
        connection.close()
        process.join(_GRACE_SECONDS)
        if not self._is_ready[worker]:
            self._losses_at_start += 1
            if self._losses_at_start >= _MOST_LOSSES_AT_START:
                raise DeviceError(
                    f"the worker on {self._devices[worker]} ends while it loads the model (exit status "
                    f"{process.exitcode})",
                    remedy="see whether memory suffices for so many workers, and name fewer `devices`",
                )
        self._is_ready[worker] = False
        self._workers[worker] = self._start(self._devices[worker])
        self._arrived.append((worker, WorkerLost()))

    def close(self) -> None:
        for process, _ in self._workers:
            process.terminate()
        for process, connection in self._workers:
            process.join(_GRACE_SECONDS)
            if process.is_alive():
                process.kill()
            connection.close()

    def _start(self, device: str) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._task, device, self._threads, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours


def _work(task: Task, device: str, num_threads: int, connection: Connection) -> None:
    """The life of a worker: load the model, then separate whatever comes until it is told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    import torch

    from unbraid.output.batch import run_numbered
    from unbraid.separation.separator import Separator

    torch.set_num_threads(num_threads)
    try:
        separator = Separator(task.model, device=device, config=task.config)
    except UnbraidError as error:
        connection.send(error)
        return
    connection.send(None)
    # Broken where whoever wanted it has gone.
    running = run_numbered(_jobs(connection), separator, task.identity, task.output, resume=task.resume)
    with suppress(BrokenPipeError, ConnectionResetError), closing(running) as events:
        for event in events:
            connection.send(sendable(event))


def _jobs(connection: Connection) -> Iterator[tuple[int, Job]]:
    try:
        while (numbered := connection.recv()) is not None:
            yield numbered
    except (EOFError, OSError):
        return


def sendable(event: BatchEvent) -> BatchEvent:
    """An event that another process can read; of a defect, the traceback goes along as a note."""
    if not isinstance(event, RecordingFailed) or not event.is_defect:
        return event
    text = "".join(traceback.format_exception(event.error))
    error = RuntimeError(f"{type(event.error).__name__}: {event.error}")
    error.add_note(text)
    return RecordingFailed(index=event.index, job=event.job, message=event.message, error=error)


def _num_processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
