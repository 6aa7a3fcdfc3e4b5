"""Downloads that visitors have asked for: one after the other, each in a process that can be ended at any moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection

from unbraid.errors import ConfigError, UnbraidError
from unbraid.files.cache import cache_folder
from unbraid.web.config import ServeConfig
from unbraid.web.offers.choices import ModelChoices
from unbraid.web.uploads import Refused, refuse_without_space
from unbraid.weights.published.locate import agree_to
from unbraid.weights.published.models import download
from unbraid.weights.published.progress import Watcher, watch_downloads
from unbraid.weights.published.registry import missing_extra

_POLL_SECONDS = 0.1
_COPIES = 2
"""A model lies on the disk as it was published, and as a file of ours."""


@dataclass
class Download:
    """One that waits or runs, or has failed."""

    name: str
    fetched_bytes: int = 0
    total_bytes: int | None = None
    message: str | None = None
    """Why it failed."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def progress(self) -> float:
        """From 0 to 1; what is fetched is then verified and made a file of ours."""
        return min(1.0, self.fetched_bytes / self.total_bytes) if self.total_bytes else 0.0


class _Cancelled(Exception):
    """Nobody wants the model any more."""


class Downloads:
    """Those of all visitors."""

    def __init__(self, config: ServeConfig, choices: ModelChoices) -> None:
        self._config, self._choices = config, choices
        self._known: dict[str, Download] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def allowed(self) -> bool:
        return self._config.may_download

    def running(self, name: str) -> Download | None:
        found = self._known.get(name)
        return found if found is not None and found.message is None else None

    def failed(self, name: str) -> Download | None:
        found = self._known.get(name)
        return found if found is not None and found.message is not None else None

    def start(self, name: str, *, agreed: bool) -> None:
        """Begins to fetch a published model, unless that is under way or done.

        Raises Refused or an UnbraidError for what cannot be fetched or used here. `agreed` says that the visitor may
        use a model whose authors state no licence.
        """
        if not self.allowed:
            raise Refused(403, "this server downloads no models for its visitors: whoever runs it can allow it")
        offer = next((offer for offer in self._choices.offers() if offer.name == name), None)
        if offer is None:
            self._choices.get(name)
            return
        model = offer.published
        assert model is not None
        if (missing := missing_extra(model)) is not None:
            raise missing
        if model.licence is None and not agreed:
            raise ConfigError(
                f"the authors of '{name}' state no licence, so you may have no right to use it",
                remedy='if you have, send {"agreed": true} with the request',
            )
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        refuse_without_space(folder, _COPIES * 1_000_000 * (model.size_mb or 0))
        with self._lock:
            if self.running(name) is not None:
                return
            found = self._known[name] = Download(name)
            thread = threading.Thread(target=self._run, args=(found,), name=f"unbraid downloads {name}", daemon=True)
            self._threads.append(thread)
        thread.start()

    def cancel(self, name: str) -> None:
        """Ends a download; what is there of it is gone on with when it is asked for again."""
        with self._lock:
            found = self._known.pop(name, None)
        if found is not None:
            found.cancelled.set()

    def stop(self) -> None:
        """Ends all of them."""
        for name in list(self._known):
            self.cancel(name)
        for thread in self._threads:
            thread.join()

    def _run(self, found: Download) -> None:
        fetch = fetch_here if self._config.workers == "thread" else _fetch_in_process

        def tell(fetched: int, total: int | None) -> None:
            if found.cancelled.is_set():
                raise _Cancelled
            found.fetched_bytes, found.total_bytes = fetched, total

        with self._turn, suppress(_Cancelled):
            message = None if found.cancelled.is_set() else fetch(found, tell)
            self._choices.forget()
            with self._lock:
                if self._known.get(found.name) is found:
                    if message is None:
                        del self._known[found.name]
                    else:
                        found.message = message


def fetch_here(found: Download, tell: Watcher) -> str | None:
    """Fetches a model in this process; gives a sentence where that fails."""
    agree_to(found.name)
    try:
        with watch_downloads(tell):
            download(found.name)
    except (_Cancelled, EOFError, BrokenPipeError):
        raise
    except UnbraidError as error:
        return str(error)
    except OSError as error:
        return f"'{found.name}' could not be kept ({error.strerror or error}): check the disk of the server"
    except Exception as error:
        return f"'{found.name}' failed because of a defect of unbraid ({type(error).__name__}: {error})"
    return None


def _fetch_in_process(found: Download, tell: Callable[[int, int | None], None]) -> str | None:
    """The same without the hub's library, other people's files and gigabytes of weights in the server's process."""
    context = get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, found.name), name="unbraid download", daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            if pipe.poll(_POLL_SECONDS):
                kind, *values = pipe.recv()
                if kind == "done":
                    return values[0]
                tell(*values)
            if found.cancelled.is_set():
                raise _Cancelled
    except EOFError:
        return f"the download of '{found.name}' ended: there may be too little memory on the server"
    finally:
        process.kill()
        process.join()
        pipe.close()


def _work(pipe: Connection, name: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        message = fetch_here(Download(name), lambda fetched, total: pipe.send(("progress", fetched, total)))
        pipe.send(("done", message))
