"""What is fuzzed: a reader of bytes from anybody, with small whole files to damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unbraid.errors import UnbraidError
from unbraid.files.json_text import JsonError

ALLOWED = (UnbraidError, JsonError)
"""What a reader may raise, and nothing else."""

Reader = Callable[[bytes], object]

_UNUSUAL = (b"[" * 5000, b"{" * 300, b"9" * 5000, b"NaN", b"null", b"\0\xff", b"\\ud800", b"1e999", b"-1", b"../../x")
"""Too deep, too long, no number, no text, a path that leads out; the seventh is half a character in JSON."""


@dataclass(frozen=True)
class Target:
    """One reader; what it reads of `seeds` must be in order."""

    seeds: tuple[bytes, ...]
    read: Reader


Builders = dict[str, Callable[[Path], Target]]
"""By the name of the reader; a builder is given a folder for readers that want a path."""


def in_file(name: str, read: Callable[[Path], object], *seeds: bytes) -> Callable[[Path], Target]:
    """A reader of a path with that file name."""

    def build(folder: Path) -> Target:
        path = folder / name

        def reader(data: bytes) -> object:
            path.write_bytes(data)
            return read(path)

        return Target(seeds, reader)

    return build


def damaged(seed: bytes, random_: random.Random) -> bytes:
    """The bytes with some of them changed, cut out, repeated, or with more behind."""
    data = bytearray(seed)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        # Headers are where readers go wrong.
        end = len(data) if random_.random() < 0.3 else min(len(data), 256)
        place = random_.randrange(end or 1)
        match random_.randrange(6):
            case 0:
                data[place : place + 1] = random_.randbytes(1)
            case 1:
                data[place : place + 4] = random_.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
            case 2:
                del data[place : place + random_.randrange(1, 64)]
            case 3:
                data[place:place] = data[place : place + random_.randrange(1, 64)]
            case 4:
                del data[random_.randrange(len(data) or 1) :]
            case 5:
                data[place:place] = random_.choice(_UNUSUAL)
    return bytes(data)
