"""Loops compiled for this machine: built at first use where there is a C++ compiler, never required.

Not by torch.utils.cpp_extension, which needs ninja and the headers of Python and PyTorch: these files need none and
take a second each. A library lies below the user's cache folder under the hash of its source, its compiler and the
processor. `UNBRAID_COMPILED_KERNELS=0` in the environment switches them off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from unbraid.axes import Tensor
from unbraid.files.cache import cache_folder

_FOLDER = Path(__file__).parent
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
_X86_FLAGS = ("-mprefer-vector-width=512",)
"""Compilers take half of the width of AVX-512 by themselves, for the sake of what runs beside it."""
_SWITCH = "UNBRAID_COMPILED_KERNELS"
_INSTEAD = "operations on tensors"
_SECONDS_TO_BUILD = 120


def library(name: str) -> ctypes.CDLL | None:
    """The functions of `name`.cpp beside this file, or None where they are switched off, or cannot be built."""
    return _load(name)[0]


def describe(name: str) -> str:
    """Which form runs on this machine's CPU, and why."""
    found, reason = _load(name)
    return reason if found is None else f"compiled, {reason}"


@cache
def _load(name: str) -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(_SWITCH, "1") == "0":
        return None, f"{_INSTEAD} ({_SWITCH}=0)"
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or sys.platform == "win32":
        return None, f"{_INSTEAD} (there is no C++ compiler)"
    try:
        path = build(name, compiler, cache_folder() / "kernels")
        return ctypes.CDLL(str(path)), f"{path}"
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return None, f"{_INSTEAD} (the compiled form fails: {' '.join(str(error).split())[:120]})"


def build(name: str, compiler: str, folder: Path) -> Path:
    """The library below `folder`, compiled where it is not there; two processes do not build it at once."""
    from filelock import FileLock

    source = _FOLDER / f"{name}.cpp"
    texts = [file.read_text(encoding="utf-8") for file in (source, *sorted(_FOLDER.glob("*.hpp")))]
    flags = [*_FLAGS, *(_X86_FLAGS if platform.machine().lower() in ("x86_64", "amd64") else ())]
    identity = " ".join([*texts, compiler, *flags, platform.machine(), _processor()])
    path = folder / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}.so"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{path}.lock", timeout=_SECONDS_TO_BUILD):
        if not path.is_file():
            made = path.with_suffix(f".{os.getpid()}.part")
            command = [compiler, *flags, str(source), "-o", str(made)]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS_TO_BUILD)
                made.replace(path)
            finally:
                made.unlink(missing_ok=True)
    return path


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    except OSError:
        return platform.processor()


def call(name: str, function: str, tensors: list[Tensor | None], *sizes: int) -> None:
    """A function of `name`.cpp, with the memory of all tensors, which lie in one piece, the sizes and the number of
    threads."""
    pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    getattr(library(name), function)(*pointers, *map(ctypes.c_int64, sizes), ctypes.c_int(torch.get_num_threads()))
