"""Where models run: in a process of their own, so that the page never waits for one, or in this one for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from unbraid.models.contract import SeparationModel
from unbraid.output.record import ModelIdentity
from unbraid.separation.compositions.identity import identify
from unbraid.separation.compositions.syntax import is_composition
from unbraid.web.store import StoredSeparation
from unbraid.web.worker import Cancelled, Failed, say, separate_stored
from unbraid.weights.store import load_model

_NICENESS = 10
"""Of the models' processes: the page goes first where both want the processor."""
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
"""ours: for a process that was told to leave a recording; then it is ended."""


class InThread:
    """In the thread that calls it; keeps the model of the last recording."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: tuple[str, SeparationModel] | None = None

    def start(self) -> None:
        """There is nothing to start."""

    def separate(
        self,
        stored: StoredSeparation,
        folder: Path,
        source: str,
        *,
        most_seconds: float,
        on_progress: Callable[[float], None],
        check: Callable[[], None],
    ) -> dict[str, Any]:
        """As `separate_stored`; what goes wrong is a Failed with a sentence."""
        try:
            if self._loaded is not None and self._loaded[0] != source:
                self._loaded = None  # two large models at a time would not fit
            if self._loaded is None and not is_composition(source):
                self._loaded = source, load_model(source).to(self._device)
            return separate_stored(
                stored,
                folder,
                source if self._loaded is None else self._loaded[1],
                ModelIdentity(stored.options["model"], identify(source)[1]),
                device=self._device,
                most_seconds=most_seconds,
                on_progress=on_progress,
                check=check,
            )
        except Cancelled:
            raise
        except Exception as error:
            raise Failed(say(error, stored, folder)) from error

    def close(self) -> None:
        self._loaded = None


class InProcess:
    """In a process of lower priority; one that dies takes only its recording along."""

    def __init__(self, device: str, num_threads: int) -> None:
        self._device, self._num_threads = device, num_threads
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Begins to load what every model needs."""
        if self._process is not None and self._process.is_alive():
            return
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._device, self._num_threads)
        self._process = context.Process(target=_work, args=arguments, name="unbraid model", daemon=True)
        self._process.start()
        theirs.close()

    def separate(
        self,
        stored: StoredSeparation,
        folder: Path,
        source: str,
        *,
        most_seconds: float,
        on_progress: Callable[[float], None],
        check: Callable[[], None],
    ) -> dict[str, Any]:
        """Raises what `check` raises, and a Failed where something goes wrong."""
        self.start()
        assert self._pipe is not None
        try:
            self._pipe.send((stored, folder, source, most_seconds))
            while True:
                check()
                if not self._pipe.poll(_POLL_SECONDS):
                    continue
                kind, value = self._pipe.recv()
                if kind == "progress":
                    on_progress(value)
                elif kind == "done":
                    return value
                else:
                    raise Failed(value)
        except (EOFError, OSError) as error:
            self.close()
            raise Failed(
                f"'{stored.name}' could not be separated because the process of the model ended: it may need more "
                "memory than there is"
            ) from error
        except Failed:
            raise
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """Ends the process, wherever it is."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _leave(self) -> None:
        """Lets the process know that nobody wants the result, and waits until it has stopped to write."""
        assert self._pipe is not None
        with suppress(EOFError, OSError):
            self._pipe.send("leave")
            while self._pipe.poll(_PATIENCE_SECONDS):
                if self._pipe.recv()[0] != "progress":
                    return
        self.close()


def _work(pipe: Connection, device: str, num_threads: int) -> None:
    """The process: recordings in, and progress and results out, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(_NICENESS)
    torch.set_num_threads(num_threads)
    engine = InThread(device)

    def check() -> None:
        if pipe.poll():
            pipe.recv()
            raise Cancelled

    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            if job == "leave":
                continue  # it was done before the word came
            stored, folder, source, most_seconds = job
            try:
                result = engine.separate(
                    stored,
                    folder,
                    source,
                    most_seconds=most_seconds,
                    on_progress=lambda fraction: pipe.send(("progress", fraction)),
                    check=check,
                )
            except Cancelled:
                pipe.send(("left", ""))
            except Failed as error:
                pipe.send(("failed", str(error)))
            else:
                pipe.send(("done", result))


Engine = InThread | InProcess


def build_engine(kind: str, device: torch.device, num_workers: int) -> Engine:
    """For one of so many workers, which share the processors."""
    if kind == "thread":
        return InThread(str(device))
    return InProcess(str(device), max(1, torch.get_num_threads() // num_workers))
