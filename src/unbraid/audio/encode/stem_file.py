"""The mark by which players know a .stem.mp4 (Native Instruments' format): a box `stem` of JSON among its user data.

A file has five sound tracks, the mixture and four stems; the box names the stems and gives them colours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from unbraid.files.protocols import Rewritable

NUM_STEMS = 4

_COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
"""ours: told apart by everybody (Okabe and Ito)."""

_DYNAMICS = {
    "compressor": {
        "enabled": False,
        "ratio": 1.0,
        "output_gain": 0.0,
        "release": 0.3,
        "attack": 0.003,
        "input_gain": 0.0,
        "threshold": 0.0,
        "hp_cutoff": 300,
        "dry_wet": 50,
    },
    "limiter": {"enabled": False, "release": 0.05, "threshold": 0.0, "ceiling": -0.35},
}
"""What a player would do to the sum of the stems: nothing."""


def stem_box(names: Sequence[str]) -> bytes:
    """The content of the box."""
    stems = [{"name": name, "color": colour} for name, colour in zip(names, _COLOURS, strict=True)]
    return json.dumps({"mastering_dsp": _DYNAMICS, "version": 1, "stems": stems}).encode()


def mark_stems(file: Rewritable, names: Sequence[str]) -> None:
    """Puts the box into an MP4 whose index (`moov`) is its last box, as libav writes it."""
    end = file.seek(0, 2)
    start, size = _find(file, b"moov", 0, end)
    assert start + size == end, "the index is not at the end"
    file.seek(start)
    index = file.read(size)
    box = _box(b"stem", stem_box(names))
    user_data = _find_in(index, b"udta")
    if user_data is None:
        index += _box(b"udta", box)
    else:
        at, length = user_data
        whole = struct.pack(">I", length + len(box)) + index[at + 4 : at + length] + box
        index = index[:at] + whole + index[at + length :]
    file.seek(start)
    file.write(struct.pack(">I", len(index)) + index[4:])


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _find(file: Rewritable, wanted: bytes, position: int, end: int) -> tuple[int, int]:
    while position + 8 <= end:
        file.seek(position)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = struct.unpack(">Q", file.read(8))[0]
        if kind == wanted:
            return position, size
        if size < 8:
            break
        position += size
    raise ValueError(f"there is no {wanted.decode()} in it")


def _find_in(parent: bytes, wanted: bytes) -> tuple[int, int] | None:
    """Where a box lies among the children of one, and its size."""
    position = 8
    while position + 8 <= len(parent):
        size, kind = struct.unpack(">I4s", parent[position : position + 8])
        if kind == wanted:
            return position, size
        if size < 8:
            return None
        position += size
    return None
