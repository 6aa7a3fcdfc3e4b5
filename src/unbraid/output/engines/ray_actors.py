"""Workers that are actors on a Ray cluster, each with the model and as many recordings in work as share it well."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import Any

from unbraid.errors import DeviceError, MissingExtraError, UnbraidError
from unbraid.output.engines.config import EngineConfig
from unbraid.output.engines.dispatch import Crew, Task, WorkerLost
from unbraid.output.engines.processes import sendable
from unbraid.output.jobs import BatchEvent, Job, RecordingProgress

_MOST_LOSSES_AT_START = 3
_LANES = 3
_LANES_ON_GPU = 17
_PROGRESS_SECONDS = 10.0
"""Of audio, between two words on how far a recording is; each takes a message through the cluster."""


class RayCrew(Crew):
    """Actors that restart elsewhere when they, or their machine, are lost."""

    def __init__(self, task: Task, engine: EngineConfig) -> None:
        ray = import_ray()
        self._ray, self._task = ray, task
        self._started_ray = not ray.is_initialized()
        if self._started_ray:
            _connect(engine)
        gpus = engine.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
        self.num_workers = engine.workers or _how_many(ray.cluster_resources(), gpus, engine.cpus_per_worker)
        lanes = _LANES_ON_GPU if gpus else _LANES
        self.jobs_ahead = lanes + 1
        # Restarts are ours: a recording that kills its worker each time is to be found out.
        self._actor = ray.remote(Separating).options(
            num_cpus=engine.cpus_per_worker,
            num_gpus=gpus,
            max_concurrency=self.jobs_ahead + 1,  # one more, for `stop`
            max_restarts=0,
        )
        self._threads = max(1, math.floor(engine.cpus_per_worker))
        self._workers = [self._start() for _ in range(self.num_workers)]
        self._streams: dict[Any, int] = {}
        """What each job in work tells, and whose it is."""
        self._is_ready = [False] * self.num_workers
        self._losses_at_start = 0

    def give(self, worker: int, index: int, job: Job) -> None:
        stream = self._workers[worker].events.options(num_returns="streaming").remote(index, job)
        self._streams[stream] = worker

    def next(self) -> tuple[int, BatchEvent | WorkerLost]:
        while True:
            [stream], _ = self._ray.wait(list(self._streams), num_returns=1)
            worker = self._streams[stream]
            try:
                event = self._ray.get(next(stream))
            except StopIteration:
                del self._streams[stream]
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            except self._ray.exceptions.RayActorError as error:
                self._replace(worker, error)
                return worker, WorkerLost()
            self._is_ready[worker] = True
            return worker, event

    def _replace(self, worker: int, error: Exception) -> None:
        if not self._is_ready[worker]:
            # Raised in the actor's own beginning, where it has a cause that users can mend.
            cause = _cause(error)
            if isinstance(cause, UnbraidError):
                raise cause from None
            self._losses_at_start += 1
            if self._losses_at_start >= _MOST_LOSSES_AT_START:
                raise DeviceError(
                    f"workers end while they load the model ({str(error).splitlines()[0][:200]})",
                    remedy="see whether memory suffices for so many, and set fewer `workers`",
                )
        with suppress(Exception):
            self._ray.kill(self._workers[worker])
        self._streams = {stream: owner for stream, owner in self._streams.items() if owner != worker}
        self._is_ready[worker] = False
        self._workers[worker] = self._start()

    def close(self) -> None:
        for worker in self._workers:
            # Those in work remove what they have begun; a kill would leave it to the next run.
            with suppress(Exception):
                self._ray.get(worker.stop.remote(), timeout=30)
            with suppress(Exception):
                self._ray.kill(worker)
        if self._started_ray:
            self._ray.shutdown()

    def _start(self) -> Any:
        return self._actor.remote(self._task, self._threads, os.getcwd())


class Separating:
    """What runs in an actor: one model, asked by several threads of Ray's, each with a recording."""

    def __init__(self, task: Task, num_threads: int, folder: str) -> None:
        import threading

        import torch

        from unbraid.separation.separator import Separator

        # Where names without a folder are looked for, on machines that have it as well.
        with suppress(OSError):
            os.chdir(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._task = task
        self._separator = Separator(task.model, device=device, config=task.config)
        self._is_stopping = False
        self._requests: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._serve, args=(num_threads,), daemon=True).start()

    def events(self, index: int, job: Job) -> Iterator[BatchEvent]:
        """Of one recording."""
        import torch

        from unbraid.output.batch import separate_one

        torch.set_num_threads(1)
        told = 0.0
        task = self._task
        events = separate_one(index, job, self._separator, task.identity, task.output, resume=task.resume)
        with closing(events):
            for event in events:
                if self._is_stopping:
                    return
                if isinstance(event, RecordingProgress):
                    if event.progress.done_seconds - told < _PROGRESS_SECONDS:
                        continue
                    told = event.progress.done_seconds
                yield sendable(event)

    def stop(self) -> None:
        """Recordings in work are given up at their next step."""
        self._is_stopping = True

    def _serve(self, num_threads: int) -> None:
        from collections import deque

        import torch

        torch.set_num_threads(num_threads)
        calls, waiting = self._separator.calls, deque[Any]()
        with calls.handed_over(self._requests.put):
            while True:
                waiting.append(self._requests.get())
                while not self._requests.empty():
                    waiting.append(self._requests.get())
                while waiting:
                    calls.answer(waiting)


def import_ray() -> Any:
    """The package, or a sentence on how to get it."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray", "ray", '`engine="ray"`') from error
    return ray


def _connect(engine: EngineConfig) -> None:
    ray = import_ray()
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if engine.address is not None:
            ray.init(address=engine.address, **quiet)
            return
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise DeviceError(
            f"there is no Ray cluster at {engine.address or 'this machine'} ({str(error).splitlines()[0][:200]})",
            remedy="check `address`, or start one with  ray start --head",
        ) from error


def _how_many(resources: dict[str, float], gpus: float, cpus: float) -> int:
    """Workers that a cluster has room for."""
    room = [resources.get("CPU", 0) / cpus]
    if gpus:
        room.append(resources.get("GPU", 0) / gpus)
    return max(1, math.floor(min(room) + 1e-6))


def _cause(error: BaseException) -> BaseException:
    """The error of ours inside one of Ray's, or Ray's."""
    inner = getattr(error, "cause", None) or error.__cause__
    while inner is not None:
        if isinstance(inner, UnbraidError):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return error
