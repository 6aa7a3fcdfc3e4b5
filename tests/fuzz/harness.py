"""Runs one reader on one input after the other, within limits, and keeps what should not have happened."""

from __future__ import annotations

import mmap
import resource
import signal
import struct
import traceback
from dataclasses import dataclass
from pathlib import Path

import unbraid
from tests.fuzz.target import ALLOWED, Target

SECONDS = 10.0
"""Of processor time that one input may take at most; the clock tells nothing where other processes go first."""

MOST_BYTES = 1 << 30
"""Of address space beyond what the process has: whoever asks for more gets a MemoryError, which is a finding."""

_LONGEST_INPUT = 1 << 20
_KEPT_OF_A_KIND = 2
_OURS = str(Path(unbraid.__file__).parent)
_FACTS = struct.Struct("<5q")


@dataclass(frozen=True)
class Counts:
    """What has become of the inputs so far, and how long the one under way is."""

    executions: int = 0
    read: int = 0
    refused: int = 0
    kinds: int = 0
    """Of what else happened, told by the error and its place in the code."""
    input_bytes: int = 0


class Shared:
    """Counts and the present input, in memory that outlives a child that has crashed."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _FACTS.size + _LONGEST_INPUT)

    def write(self, counts: Counts) -> None:
        _FACTS.pack_into(self._map, 0, counts.executions, counts.read, counts.refused, counts.kinds, counts.input_bytes)

    def read(self) -> Counts:
        return Counts(*_FACTS.unpack_from(self._map))

    def write_input(self, data: bytes) -> None:
        self._map[_FACTS.size : _FACTS.size + len(data)] = data

    def read_input(self) -> bytes:
        return self._map[_FACTS.size : _FACTS.size + self.read().input_bytes]


class Harness:
    """One reader under way."""

    def __init__(self, name: str, target: Target, findings: Path, shared: Shared) -> None:
        self.name, self._read, self._findings, self._shared = name, target.read, findings, shared
        self._executions, self._good, self._refused = 0, 0, 0
        self._found: dict[str, int] = {}
        signal.signal(signal.SIGPROF, _too_long)

    def run(self, data: bytes) -> None:
        """One input."""
        data = data[:_LONGEST_INPUT]
        self._executions += 1
        self._shared.write_input(data)
        self._tell(len(data))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            self._read(data)
            self._good += 1
        except ALLOWED:
            self._refused += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._keep(error, data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def finish(self) -> None:
        self._tell(0)

    def _tell(self, input_bytes: int) -> None:
        self._shared.write(Counts(self._executions, self._good, self._refused, len(self._found), input_bytes))

    def _keep(self, error: BaseException, data: bytes) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "elsewhere"
        kind = f"{type(error).__name__} {place}"
        self._found[kind] = number = self._found.get(kind, 0) + 1
        if number <= _KEPT_OF_A_KIND:
            keep_finding(self._findings, self.name, kind, data, "".join(traceback.format_exception(error)))


def keep_finding(folder: Path, name: str, kind: str, data: bytes, said: str) -> None:
    """The bytes, and beside them what came of them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name} {kind} {len(data)}".replace(" ", "_").replace("/", "_")
    path.with_name(path.name + ".bin").write_bytes(data)
    path.with_name(path.name + ".txt").write_text(said, encoding="utf-8", errors="backslashreplace")
    print(f"  {name}: {kind}: {said.strip().splitlines()[-1][:200]}\n    {path}.bin", flush=True)


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, resource.RLIM_INFINITY))


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS:g} s")
