"""The queue: takes recordings in, lets one worker for each device separate them, and removes what is old."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from unbraid.separation.device import choose_device
from unbraid.separation.stems import StemPlan
from unbraid.web.config import ServeConfig
from unbraid.web.engine import Engine, build_engine
from unbraid.web.offers.choices import AUTO, ModelChoices
from unbraid.web.schema import SeparationOptions
from unbraid.web.store import SeparationStore, StoredSeparation
from unbraid.web.worker import Cancelled, Failed, recording_path, say

_log = logging.getLogger("unbraid.web")

_MOST_ATTEMPTS = 2
"""ours: a recording that ends the whole server twice is not tried a third time."""
_SWEEP_SECONDS = 60.0


class _Stopping(Cancelled):
    """The server is about to end."""


@dataclass
class _Live:
    """What only this process knows of a recording that is being separated."""

    began: float
    progress: float = 0.0
    cancelled: bool = False


@dataclass
class Totals:
    """Since the server was started."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0


class SeparationQueue:
    """Everything that the pages and programs of all visitors have in common."""

    def __init__(self, config: ServeConfig, choices: ModelChoices | None = None) -> None:
        self.config = config
        self.choices = choices or ModelChoices()
        self.totals = Totals()
        self.uploading = 0
        """Uploads that are under way."""
        self.devices = _devices(config.devices)
        config.folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            config.folder.chmod(0o700)
        self.store = SeparationStore(config.folder / "queue.sqlite")
        self._live: dict[str, _Live] = {}
        self._paces: dict[str, float] = {}
        """Wall seconds for a second of audio, by model."""
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Takes up what an earlier server left, and begins to work."""
        for stored in self.store.running():
            if stored.attempts >= _MOST_ATTEMPTS:
                message = f"the server stopped {stored.attempts} times while it separated this recording"
                self._end(stored, "failed", message=message)
            else:
                self.store.put_back(stored.id, counts=True)
        self._remove_strangers()
        self.sweep()
        for device in self.devices:
            self._spawn(lambda device=device: self._work(device), f"separates on {device}")
        self._spawn(self._sweep_now_and_then, "removes old results")

    def stop(self) -> None:
        """Ends the workers; what was running waits at the head of the queue for the next server."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        self.store.close()

    def folder_of(self, id: str) -> Path:
        """Of an id that the store knows."""
        return self.config.folder / "recordings" / id

    def check(self, options: SeparationOptions) -> None:
        """Raises an UnbraidError for options that do not go with the model, before anything is uploaded."""
        choice = self.choices.get(options.model)
        if choice.name == AUTO:
            return
        plan = StemPlan(sources=choice.sources, config=options.separation)
        options.output.choose(plan.names)

    def submit(self, id: str, name: str, options: SeparationOptions, seconds: float | None) -> StoredSeparation | None:
        """A recording that lies in its folder waits its turn; None where the queue is full."""
        size = recording_path(self.folder_of(id)).stat().st_size
        stored = self.store.add(
            id, name, options.model_dump(), seconds=seconds, size=size, most_queued=self.config.max_queued
        )
        with self._wake:
            self._wake.notify()
        return stored

    def cancel(self, stored: StoredSeparation) -> bool:
        """Ends what waits or runs; its files go. Says whether there was anything to end."""
        ended = self.store.end(stored.id, "cancelled", size=0)
        live = self._live.get(stored.id)
        if live is not None:
            live.cancelled = True
        elif ended:
            self._discard(stored.id)
        self.totals.cancelled += ended
        return ended

    def remove(self, stored: StoredSeparation) -> None:
        """Removes it with its files."""
        self.cancel(stored)
        self.store.remove(stored.id)
        if stored.id not in self._live:
            self._discard(stored.id)

    def progress_of(self, id: str) -> float:
        live = self._live.get(id)
        return live.progress if live else 0.0

    def position_of(self, stored: StoredSeparation, waiting: list[StoredSeparation]) -> int | None:
        """From 1; `waiting` is the queue."""
        return next((place for place, other in enumerate(waiting, 1) if other.id == stored.id), None)

    def seconds_left(self, stored: StoredSeparation, waiting: list[StoredSeparation]) -> float | None:
        """Wall time until it is done, as far as that can be told."""
        if stored.state == "running":
            return self._left_of_running(stored)
        if stored.state != "queued":
            return None
        total = 0.0
        for running in self.store.running():
            left = self._left_of_running(running)
            if left is None:
                return None
            total += left
        for other in waiting:
            pace = self._paces.get(other.options["model"])
            if pace is None or other.seconds is None:
                return None
            total += pace * other.seconds
            if other.id == stored.id:
                break
        return total / len(self.devices)

    def sweep(self) -> None:
        """Removes results that are too old, whatever the clock is set to, and the oldest where they take too much."""
        self.store.follow_clock()
        oldest = time.time() - self.config.keep_hours * 3600
        ended = self.store.ended()
        for stored in ended:
            if (stored.ended or 0) < oldest or self.store.total_bytes() > self.config.keep_bytes:
                self.remove(stored)

    def expires(self, stored: StoredSeparation) -> float | None:
        """When its results go at the latest, in seconds since 1970."""
        return stored.ended + self.config.keep_hours * 3600 if stored.ended else None

    def _left_of_running(self, stored: StoredSeparation) -> float | None:
        live = self._live.get(stored.id)
        if live is None or live.progress < 0.02:
            pace = self._paces.get(stored.options["model"])
            return pace * stored.seconds if pace and stored.seconds else None
        return (time.monotonic() - live.began) * (1 - live.progress) / live.progress

    def _spawn(self, task, name: str) -> None:
        thread = threading.Thread(target=task, name=f"unbraid {name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self, device: torch.device) -> None:
        engine = build_engine(self.config.workers, device, len(self.devices))
        engine.start()
        try:
            while not self._stopping.is_set():
                stored = self.store.take()
                if stored is None:
                    with self._wake:
                        self._wake.wait(timeout=1.0)
                    continue
                live = self._live[stored.id] = _Live(time.monotonic())
                try:
                    self._run(stored, live, engine)
                finally:
                    del self._live[stored.id]
                    found = self.store.get(stored.id)
                    if found is None or found.state == "cancelled":
                        self._discard(stored.id)
        finally:
            engine.close()

    def _run(self, stored: StoredSeparation, live: _Live, engine: Engine) -> None:
        """Separates one."""
        folder, name = self.folder_of(stored.id), stored.options["model"]

        def check() -> None:
            if self._stopping.is_set():
                raise _Stopping
            if live.cancelled:
                raise Cancelled

        def on_progress(fraction: float) -> None:
            live.progress = max(live.progress, fraction)

        try:
            result = engine.separate(
                stored,
                folder,
                self.choices.get(name).source or name,
                most_seconds=self.config.max_seconds,
                on_progress=on_progress,
                check=check,
            )
        except _Stopping:
            self.store.put_back(stored.id, counts=False)
        except Cancelled:
            pass
        except Exception as error:
            _log.log(logging.INFO, "%s: %s", stored.id, error, exc_info=error)
            self._end(stored, "failed", message=str(error) if isinstance(error, Failed) else say(error, stored, folder))
        else:
            wall = time.monotonic() - live.began
            self._paces[name] = wall / max(result["seconds"], 1e-3)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if self.store.end(stored.id, "done", seconds=result["seconds"], size=size, result=result):
                self.totals.done += 1
                self.totals.audio_seconds += result["seconds"]
                self.totals.wall_seconds += wall

    def _end(self, stored: StoredSeparation, state, *, message: str) -> None:
        self._discard(stored.id)
        if self.store.end(stored.id, state, message=message, size=0):
            self.totals.failed += 1

    def _discard(self, id: str) -> None:
        shutil.rmtree(self.folder_of(id), ignore_errors=True)

    def _remove_strangers(self) -> None:
        """Folders that no row speaks of: uploads that a stop of the server cut off."""
        known = self.store.all_ids()
        with suppress(FileNotFoundError):
            for path in (self.config.folder / "recordings").iterdir():
                if path.name not in known:
                    shutil.rmtree(path, ignore_errors=True)

    def _sweep_now_and_then(self) -> None:
        while not self._stopping.wait(_SWEEP_SECONDS):
            self.sweep()


def _devices(names: tuple[str, ...]) -> list[torch.device]:
    """One for each worker."""
    found: list[torch.device] = []
    for name in names:
        if name == "auto" and torch.cuda.device_count() > 1:
            found += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        else:
            found.append(choose_device(name))
    return list(dict.fromkeys(found))
