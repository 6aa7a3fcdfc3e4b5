"""Fuzzing that looks which code an input reaches, and goes on from those that reach new code: atheris on libFuzzer.

A child process per reader, since libFuzzer never returns and a decoder may crash; the parent watches it. What is to be
read is built in the child, because threads do not outlive a fork.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.fuzz.harness import SECONDS, Counts, Harness, Shared, keep_finding, limit_memory
from tests.fuzz.target import Target, damaged

_FIRST = 64
"""Damaged files that the search begins with, beside the whole ones."""

_MOST_CRASHES = 5
_START_SECONDS, _WAIT_SECONDS = 30.0, 600.0
"""Of processor time until the first input, and of anything between two."""
_NEWS = re.compile(r"#(\d+)\s+(NEW|REDUCE|INITED|pulse|DONE|RELOAD)\s+cov: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """A reader's counts, and what was reached."""

    counts: Counts
    seconds: float
    edges: int = 0
    """Branches of the instrumented code that some input took; 0 where nobody looked."""
    last_new: int = 0
    """The execution that found the last of them."""


def fuzz(
    name: str, build: Callable[[], Target], executions: int | None, seconds: float | None, seed: int, folder: Path
) -> Outcome:
    """Until so many executions or seconds are over; corpus, log and findings are kept in `folder`."""
    corpus = folder / "corpus" / name.replace(" ", "-")
    log = folder / "logs" / f"{name.replace(' ', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    done, began, crashes = Counts(), time.monotonic(), 0
    edges = last_new = 0
    while True:
        left = None if seconds is None else seconds - (time.monotonic() - began)
        wanted = None if executions is None else executions - done.executions
        if (left is not None and left < 1) or (wanted is not None and wanted <= 0) or crashes > _MOST_CRASHES:
            break
        counts, crash = _watch(name, build, corpus, log, folder / "findings", wanted, left, seed + crashes)
        found, new = _read_log(log)
        edges, last_new = max(edges, found), new + done.executions if found > edges else last_new
        done = _sum(done, counts)
        if crash is None:
            break
        crashes += 1
        done = replace(done, kinds=done.kinds + 1)
    return Outcome(done, time.monotonic() - began, edges, last_new)


def _watch(
    name: str,
    build: Callable[[], Target],
    corpus: Path,
    log: Path,
    findings: Path,
    runs: int | None,
    left: float | None,
    seed: int,
) -> tuple[Counts, str | None]:
    """One child until it ends; what it died of, if it did."""
    shared = Shared()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            _search(name, build(), corpus, log, findings, shared, runs, left, seed)
        except BaseException as error:
            keep_finding(findings, name, "whole", b"", "".join(traceback.format_exception(error)))
        finally:
            os._exit(1)
    before, changed, told = Counts(), 0.0, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        counts = shared.read()
        if ended:
            break
        taken = _seconds_of(child)
        if counts != before:
            before, changed, told = counts, taken, time.monotonic()
        if taken - changed > 3 * SECONDS + _START_SECONDS or time.monotonic() - told > _WAIT_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            keep_finding(findings, name, "hang", shared.read_input(), "no answer")
            return counts, "hang"
        time.sleep(0.05)
    if counts.input_bytes == 0:
        return counts, None
    kind = f"crash {os.waitstatus_to_exitcode(status)}"
    keep_finding(findings, name, kind, shared.read_input(), log.read_text(errors="replace")[-4000:])
    return counts, kind


def _seconds_of(process: int) -> float:
    """Of processor time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _search(
    name: str,
    target: Target,
    corpus: Path,
    log: Path,
    findings: Path,
    shared: Shared,
    runs: int | None,
    left: float | None,
    seed: int,
) -> None:
    """In the child: never returns."""
    import atheris

    for data in target.seeds:
        target.read(data)
    if not corpus.exists():
        corpus.mkdir(parents=True)
        random_ = random.Random(seed)
        for number, data in enumerate(target.seeds):
            (corpus / f"seed-{number}").write_bytes(data)
        for number in range(_FIRST):
            (corpus / f"damaged-{number}").write_bytes(damaged(random_.choice(target.seeds), random_))
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    limit_memory()
    harness = Harness(name, target, findings, shared)

    def one(data: bytes) -> None:
        harness.run(data)
        harness.finish()

    options = [
        f"-seed={seed + 1}",
        f"-max_len={max(4096, 2 * max(map(len, target.seeds)))}",
        "-len_control=0",
        "-timeout=86400",  # ours is in processor time
        "-rss_limit_mb=0",
        "-malloc_limit_mb=0",
        "-close_fd_mask=2",
        "-artifact_prefix=/dev/null",
        *([] if runs is None else [f"-runs={runs}"]),
        *([] if left is None else [f"-max_total_time={int(left)}"]),
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()
    os._exit(0)


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.executions + other.executions, one.read + other.read, one.refused + other.refused, one.kinds + other.kinds
    )


def _read_log(log: Path) -> tuple[int, int]:
    """Edges, and the execution that found the last of them."""
    edges = last = 0
    for number, _, found in _NEWS.findall(log.read_text(errors="replace")):
        if int(found) > edges:
            edges, last = int(found), int(number)
    return edges, last
