"""`make fuzz`: so many damaged files for each reader; prints the counts, and keeps the bytes of what else happened.

With atheris installed (`pip install atheris`) the search is guided by the code that is reached, without it random.
What is found is mended, and its bytes become a test beside the reader.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.guided import Outcome
    from tests.fuzz.target import Target

_COLUMNS = ("reader", "inputs", "read", "refused", "found", "edges", "last new", "a second")

_IN_MEMORY = Path("/dev/shm")

_INSTRUMENTED = ["unbraid", "mido", "yaml", "python_multipart", "huggingface_hub"]
"""Packages in which code that is reached counts."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--executions", type=int, help="for each reader; 2,000 where no time is given")
    parser.add_argument("--seconds", type=float, help="for each reader")
    parser.add_argument("--rounds", type=int, default=1, help="how often each reader has its turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where corpora, logs and findings stay for the next run")
    parser.add_argument("--counts", type=Path, help="a JSON file in which the counts of all runs are added up")
    parser.add_argument("--random", action="store_true", help="not guided")
    parser.add_argument("readers", nargs="*", help="only these")
    options = parser.parse_args()
    if options.executions is None and options.seconds is None:
        options.executions = 2000
    guided = not options.random and find_spec("atheris") is not None
    with ExitStack() as stack:
        if guided:
            import atheris

            stack.enter_context(atheris.instrument_imports(include=_INSTRUMENTED))
        return _run(options, guided)


def _run(options: argparse.Namespace, guided: bool) -> int:
    from tests.fuzz.readers import BUILDERS, build_target

    kinds = 0
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as scratch:
        folder = options.folder or Path(scratch, "kept")
        folder.mkdir(parents=True, exist_ok=True)
        for round_ in range(options.rounds):
            print("{:<16} {:>9} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9}".format(*_COLUMNS), flush=True)
            for name in options.readers or BUILDERS:
                place = Path(scratch, f"{round_} {name}")
                place.mkdir()
                build = partial(build_target, name, place)
                kinds += _fuzz(name, build, options, folder, guided, options.seed + round_)
                shutil.rmtree(place)
    return kinds > 0


def _fuzz(
    name: str, build: Callable[[], Target], options: argparse.Namespace, folder: Path, guided: bool, seed: int
) -> int:
    """One reader; tells what became of it, and gives how many kinds of faults were found."""
    from tests.fuzz import guided as search
    from tests.fuzz.counts import add_counts

    if guided:
        outcome = search.fuzz(name, build, options.executions, options.seconds, seed, folder)
    else:
        outcome = _at_random(name, build(), options, folder, seed)
    counts = outcome.counts
    print(
        f"{name:<16} {counts.executions:>9,} {counts.read:>9,} {counts.refused:>9,} {counts.kinds:>6} "
        f"{outcome.edges:>6,} {outcome.last_new:>9,} {counts.executions / max(outcome.seconds, 1e-9):>9,.0f}",
        flush=True,
    )
    if options.counts is not None:
        add_counts(options.counts, name, outcome)
    return counts.kinds


def _at_random(name: str, target: Target, options: argparse.Namespace, folder: Path, seed: int) -> Outcome:
    from tests.fuzz.guided import Outcome
    from tests.fuzz.harness import Harness, Shared, limit_memory
    from tests.fuzz.target import damaged

    limit_memory()
    shared, random_, began = Shared(), random.Random(f"{seed} {name}"), time.monotonic()
    harness = Harness(name, target, folder / "findings", shared)
    while options.seconds is None or time.monotonic() - began < options.seconds:
        if options.executions is not None and shared.read().executions >= options.executions:
            break
        harness.run(damaged(random_.choice(target.seeds), random_))
    return Outcome(shared.read(), time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
