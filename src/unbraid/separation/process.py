"""Settings of the process that make separation on a CPU several times faster; the command line uses them.

Call `tune_process` before torch is imported; a program of your own may do so too.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def tune_process() -> None:
    """Lets idle threads sleep and keeps freed memory for the next tensor.

    Threads of OpenMP spin while they wait for each other; on a machine that is busy with other work this slows a model
    down many times. And the allocator of glibc gives every large tensor back to the system and fetches it anew, page
    by page. Environment variables that are set already are respected.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A short spin all the same: it saves time on an idle machine and costs little on a busy one.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    mallopt = _glibc("mallopt")
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt(_M_MMAP_THRESHOLD, 2**30)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)


def release_freed_memory() -> None:
    """Gives the holes in the heap back to the system; takes some milliseconds.

    The few kilobytes that are kept of each chunk lie between large tensors that come and go, and in time break the free
    space into pieces too small for the next one. A separation of hours calls this now and then.
    """
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _glibc(function: str) -> Callable[..., int] | None:
    """A function of the C library where that is glibc."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), function, None)
