"""`make fuzz`: so many damaged files for each reader; prints the counts, and the bytes that something else came of.

What is found is mended, and its bytes become a test beside the reader.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from tests.fuzz.readers import ALLOWED, build_readers, damaged

_SECONDS = 10
"""That one file may take at most."""
_MOST_BYTES = 4 << 30
"""Of address space beyond what the imports take: whoever asks for more gets a MemoryError, which is a finding."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--executions", type=int, default=2000, help="for each reader")
    parser.add_argument("--seconds", type=float, help="for each reader, however many executions that are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("readers", nargs="*", help="only these")
    options = parser.parse_args()

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {_SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        readers = build_readers(Path(folder))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, resource.RLIM_INFINITY))
        print(f"{'reader':<12} {'files':>8} {'read':>8} {'refused':>8} {'found':>6} {'seconds':>8}")
        for name, (seed, read) in readers.items():
            if options.readers and name not in options.readers:
                continue
            counts, began = collections.Counter[str](), time.monotonic()
            random_ = random.Random(f"{options.seed} {name}")
            executions = 0
            for executions in count(1):
                if options.seconds is None and executions > options.executions:
                    break
                if options.seconds is not None and time.monotonic() - began > options.seconds:
                    break
                data = damaged(seed, random_)
                signal.alarm(_SECONDS)
                try:
                    read(data)
                    counts["read"] += 1
                except ALLOWED:
                    counts["refused"] += 1
                except Exception as error:
                    counts["found"] += 1
                    if counts["found"] <= 3:
                        print(f"  {name}: {type(error).__name__}: {str(error)[:200]}\n  {data[:300]!r}")
                finally:
                    signal.alarm(0)
            findings += counts["found"]
            seconds = time.monotonic() - began
            print(
                f"{name:<12} {executions - 1:>8,} {counts['read']:>8,} {counts['refused']:>8,} "
                f"{counts['found']:>6} {seconds:>8.1f}",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"peak memory {peak} MiB")
    return findings > 0


if __name__ == "__main__":
    sys.exit(main())
