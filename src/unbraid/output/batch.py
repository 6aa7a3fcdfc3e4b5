"""Separates many recordings in this process, side by side: while the model has one, others are read and written.

    lanes (threads, each with a recording) -> requests -> the model, in the caller's thread -> answers -> lanes

An error in one recording never stops the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import torch

from unbraid.errors import UnbraidError
from unbraid.files.leftovers import remove_leftovers
from unbraid.output.config import OutputConfig
from unbraid.output.export import Exported, export, missing_folders, remove_empty
from unbraid.output.jobs import (
    BatchEvent,
    Job,
    RecordingDone,
    RecordingFailed,
    RecordingProgress,
    RecordingSkipped,
    RecordingStarted,
)
from unbraid.output.record import ModelIdentity, is_done
from unbraid.output.upload import export_to_url
from unbraid.separation.events import Progress, Started
from unbraid.separation.inference.model_calls import Request
from unbraid.separation.separator import Separator

_MOST_LANES = 18


@dataclass(frozen=True)
class _Ended:
    """A lane has nothing more to do, or could not go on."""

    error: BaseException | None = None


def run_jobs(
    jobs: Iterable[Job],
    separator: Separator,
    model: ModelIdentity,
    output: OutputConfig | None = None,
    *,
    resume: bool = False,
    lanes: int | None = None,
) -> Generator[BatchEvent, None, None]:
    """Runs every job and tells how it goes. With `resume`, recordings whose stems are there already are skipped.

    So many recordings are in work at a time as there are `lanes`, by default three, and where chunks share calls of the
    model enough to fill them; jobs are taken in their order, and may be done in another. Closing the generator, or
    Ctrl-C, removes what was written of those that are in work.
    """
    return run_numbered(enumerate(jobs), separator, model, output or OutputConfig(), resume=resume, lanes=lanes)


def run_numbered(
    jobs: Iterator[tuple[int, Job]],
    separator: Separator,
    model: ModelIdentity,
    output: OutputConfig,
    *,
    resume: bool = False,
    lanes: int | None = None,
) -> Generator[BatchEvent, None, None]:
    """As `run_jobs`, of jobs that have their numbers already, which may come when they please."""
    if separator.config.deterministic:
        # One thread computes, and nobody else sets how many there are.
        for index, job in jobs:
            yield from separate_one(index, job, separator, model, output, resume=resume)
        return
    inbox: SimpleQueue[BatchEvent | Request | _Ended] = SimpleQueue()
    stop, taking = threading.Event(), threading.Lock()
    fresh = set[Path]()
    """Folders that were not there before."""

    def hand_over(request: Request) -> None:
        if stop.is_set():
            request.future.cancel()
        inbox.put(request)

    def lane() -> None:
        ended = _Ended()
        # The model has the processor; what a thread here does is done as fast without a team of its own.
        torch.set_num_threads(1)
        try:
            while not stop.is_set():
                with taking:
                    numbered = next(jobs, None)
                    if numbered is None:
                        return
                    paths, target = numbered[1].paths, numbered[1].target
                    # Its own folder is the recording's; those above may be wanted by several at a time.
                    if target is None:
                        fresh.update(folder for folder in missing_folders(paths) if folder != paths.folder)
                with closing(separate_one(*numbered, separator, model, output, resume=resume)) as events:
                    for event in events:
                        inbox.put(event)
                        if stop.is_set():
                            return
        except CancelledError:
            pass
        except BaseException as error:
            ended = _Ended(error)
        finally:
            inbox.put(ended)

    number = lanes or num_lanes(separator)
    threads = [threading.Thread(target=lane, name=f"unbraid-lane-{index}", daemon=True) for index in range(number)]
    waiting = deque[Request]()
    with separator.calls.handed_over(hand_over):
        for thread in threads:
            thread.start()
        try:
            while number:
                try:
                    # What has come meanwhile is looked at before the model runs, so that requests find each other.
                    item = inbox.get(block=not waiting)
                except Empty:
                    separator.calls.answer(waiting)
                    continue
                if isinstance(item, Request):
                    waiting.append(item)
                elif not isinstance(item, _Ended):
                    yield item
                elif item.error is not None:
                    raise item.error
                else:
                    number -= 1
        except KeyboardInterrupt:
            # What was done while the model had this thread is told before the end.
            stop.set()
            yield from [item for item in _let_go(threads, inbox, waiting) if isinstance(item, RecordingDone)]
            raise
        finally:
            stop.set()
            _let_go(threads, inbox, waiting)
            remove_empty(fresh)


def num_lanes(separator: Separator) -> int:
    """One recording in the model, one being read, one being written; and as many again as share a call."""
    most = separator.calls.most_chunks
    return 3 if most == 1 else min(2 * most + 1, _MOST_LANES)


def separate_one(
    index: int, job: Job, separator: Separator, model: ModelIdentity, output: OutputConfig, *, resume: bool = False
) -> Generator[BatchEvent, None, None]:
    """One recording; whatever is wrong with it is an event as well."""
    try:
        if job.target is None:
            for folder in {job.paths.folder, *(path.parent for path in job.paths.stems.values())}:
                remove_leftovers(folder)
        if resume and is_done(job.paths, model, separator, output, job.file.path, job.target):
            yield RecordingSkipped(index=index, job=job)
            return
        if job.target is None:
            exporting = export(separator, job.file.path, job.paths, output, model)
        else:
            exporting = export_to_url(separator, job.file.path, job.paths, job.target, output, model)
        with closing(exporting) as events:
            for event in events:
                match event:
                    case Started():
                        yield RecordingStarted(index=index, job=job, started=event)
                    case Progress():
                        yield RecordingProgress(index=index, job=job, progress=event)
                    case Exported():
                        yield RecordingDone(index=index, job=job, exported=event)
    except CancelledError:
        raise
    except Exception as error:
        yield RecordingFailed(index=index, job=job, message=_sentence(error, job), error=error)


def _let_go(
    threads: list[threading.Thread], inbox: SimpleQueue[BatchEvent | Request | _Ended], waiting: deque[Request]
) -> list[BatchEvent | _Ended]:
    """Waits for the lanes to remove what they have begun; those that wait for the model wait no longer.

    Returns what the lanes had still to say.
    """
    said: list[BatchEvent | _Ended] = []
    while threads:
        for request in waiting:
            request.future.cancel()
        waiting.clear()
        alive = [thread for thread in threads if thread.is_alive()]
        try:
            while True:
                item = inbox.get(timeout=0.05) if alive else inbox.get_nowait()
                if isinstance(item, Request):
                    item.future.cancel()
                else:
                    said.append(item)
        except Empty:
            threads = alive
    return said


def _sentence(error: Exception, job: Job) -> str:
    if isinstance(error, UnbraidError):
        text = str(error)
        return text if job.name in text else f"'{job.name}': {text}"
    if isinstance(error, OSError):
        return f"'{job.name}' could not be separated ({error.strerror or error}): check the disks that it is on"
    return f"'{job.name}' could not be separated because of a defect of unbraid ({type(error).__name__}: {error})"
