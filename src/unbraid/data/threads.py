"""Does one thing to many, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_as_done(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int, stop: Event | None = None
) -> Iterator[tuple[Item, Result]]:
    """Results in the order in which they are done; decoding and resampling let other threads run.

    Few are begun ahead, so that whoever stops asking, as with Ctrl-C, waits for no more than `jobs` of them; `stop` is
    set then, and a function that looks at it may end at once.
    """
    waiting = iter(items)
    running: dict[Future[Result], Item] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while True:
            for item in islice(waiting, 2 * jobs - len(running)):
                running[pool.submit(function, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
