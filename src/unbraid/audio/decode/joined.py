"""Files that hold several recordings one after the other: chained Ogg, joined FLAC and joined MP3.

Decoders stop after the first, or stumble over the tags between them, so each is decoded by itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from unbraid.audio.decode.headers import id3_bytes, is_mpeg_audio
from unbraid.files.protocols import Seekable

_SCAN_BYTES = 1 << 20
_OVERLAP_BYTES = 64
_PAGE_HEADER_BYTES = 27 + 255
_SHORTEST_MP3_BYTES = 2048
"""ours: what lies between two tags and is shorter is no recording."""

_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The mark, and the header of the block that always comes first."""

_MP3_START = re.compile(
    rb"ID3[\x02-\x04].[\x00\x10\x20\x40\x60\x70\x80\xa0\xc0\xe0\xf0][\x00-\x7f]{4}"
    rb"|\xff[\xe2\xe3\xf2\xf3\xfa\xfb][^\xff].(?:.{9}|.{17}|.{32})(?:Xing|Info)\x00\x00\x00[\x00-\x0f]",
    re.DOTALL,
)
"""A tag, or the silent first frame that tells the length: how far in that is depends on version and channels."""


def find_parts(file: Seekable) -> list[tuple[int, int]]:
    """Start and size in bytes of every recording in a file, one after the other; most files hold one."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        starts = list(_ogg_starts(file, size))
    elif head[:4] == b"fLaC":
        starts = [0, *_marks(file, _FLAC_START, _end_of_flac_metadata(file, size))]
    elif is_mpeg_audio(head):
        starts = list(_mp3_starts(file))
    else:
        starts = [0]
    ends = [*starts[1:], size]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def _ogg_starts(file: Seekable, size: int) -> Iterator[int]:
    """Places of pages that begin a stream after pages that do not: streams side by side all begin first."""
    position, in_beginning = 0, True
    yield 0
    while position + 27 <= size:
        file.seek(position)
        header = file.read(_PAGE_HEADER_BYTES)
        if header[:4] != b"OggS":
            # Damage: on to the next page.
            found = next(_marks(file, re.compile(b"OggS\0"), position), None)
            if found is None:
                return
            position = found
            continue
        begins = bool(header[5] & 2)
        if begins and not in_beginning:
            yield position
        in_beginning = begins
        num_segments = header[26]
        position += 27 + num_segments + sum(header[27 : 27 + num_segments])


def _end_of_flac_metadata(file: Seekable, size: int) -> int:
    position, is_last = 4, False
    while not is_last and position + 4 <= size:
        file.seek(position)
        header = file.read(4)
        is_last = bool(header[0] & 0x80)
        position += 4 + int.from_bytes(header[1:4], "big")
    return position


def _mp3_starts(file: Seekable) -> Iterator[int]:
    yield 0
    audio_from = 0
    for position in _marks(file, _MP3_START, 0):
        # A tag may hold a picture, in which anything may be found; the first frame behind it belongs to the same part.
        if 0 < position <= audio_from:
            continue
        file.seek(position)
        head = file.read(10)
        behind = position + id3_bytes(head)
        if position - audio_from >= _SHORTEST_MP3_BYTES and _is_frame(file, audio_from) and _is_frame(file, behind):
            yield position
        audio_from = behind


def _is_frame(file: Seekable, position: int) -> bool:
    file.seek(position)
    head = file.read(2)
    return len(head) == 2 and is_mpeg_audio(head)


def _marks(file: Seekable, pattern: re.Pattern[bytes], start: int) -> Iterator[int]:
    """Where a pattern, which is shorter than the overlap, is found from `start` on."""
    position = start
    while True:
        file.seek(position)
        data = file.read(_SCAN_BYTES + _OVERLAP_BYTES)
        for found in pattern.finditer(data):
            if found.start() < _SCAN_BYTES:
                yield position + found.start()
        if len(data) < _SCAN_BYTES + _OVERLAP_BYTES:
            return
        position += _SCAN_BYTES
