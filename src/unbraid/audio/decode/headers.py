"""Finds recordings that end too early, by what their headers promise, before hours are spent on them.

Decoders take a truncated file for a short one. Each function below walks the chunks of one family of containers and
answers None where nothing is promised or the promise is kept.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import ldexp

from unbraid.audio.decode.riff import is_wave, iter_chunks
from unbraid.files.protocols import Seekable

_TOLERANCE_BYTES = 64
"""Some writers count their own header into the size of the data; that loses nothing."""


@dataclass(frozen=True)
class Truncation:
    """What the header promises and what is on disk, in bytes, and in seconds where the header tells them."""

    promised_bytes: int
    held_bytes: int
    bytes_per_second: int | float = 0
    in_page: bool = False
    """The container promises no length, but it stops in the middle of a page."""

    def __str__(self) -> str:
        if self.in_page:
            return "it stops in the middle of a page, as a broken download does"
        if self.bytes_per_second > 0:
            promised, held = (n / self.bytes_per_second for n in (self.promised_bytes, self.held_bytes))
            return f"its header promises {promised:.1f} s and it holds {held:.1f} s"
        return f"its header promises {self.promised_bytes:,} bytes and it holds {self.held_bytes:,}"


def find_truncation(file: Seekable) -> Truncation | None:
    """What is missing at the end of a seekable file, or None; the position of the file is lost."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    walk: Callable[[Seekable, int], Truncation | None] | None = None
    if is_wave(head):
        walk = _wav
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        walk = _aiff
    elif head[:4] == b"riff" and len(head) == 12:
        walk = _wave64
    elif head[:4] == b"caff":
        walk = _caf
    elif head[4:8] == b"ftyp":
        walk = _mp4
    elif head[:4] == b"OggS":
        walk = _ogg
    elif head[:4] == b"\x1aE\xdf\xa3":
        walk = _matroska
    elif is_mpeg_audio(head):
        walk = _mp3
    if walk is None:
        return None
    try:
        found = walk(file, size)
    except struct.error:  # The header itself is cut; the decoder will say so.
        return None
    if found is None or found.promised_bytes - found.held_bytes < _TOLERANCE_BYTES:
        return None
    return found


def _unknown_32(size: int) -> bool:
    """Whether a 32-bit size is one that programs write when they stream and do not know the length yet."""
    return size == 0 or size >= 0xFFFFFF00 or 0x7FFFE000 <= size <= 0x80000000


def _wav(file: Seekable, size: int) -> Truncation | None:
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    data_64, bytes_per_second = None, 0
    for name, length, position in iter_chunks(file, size):
        file.seek(position)
        if name == b"ds64":
            data_64 = struct.unpack("<8xQ", file.read(16))[0]
        elif name == b"fmt ":
            bytes_per_second = struct.unpack(f"{order}8xI", file.read(12))[0]
        elif name == b"data":
            if length == 0xFFFFFFFF and data_64:
                length = data_64
            elif _unknown_32(length):
                return None
            return Truncation(length, size - position, bytes_per_second)
    return None


def _aiff(file: Seekable, size: int) -> Truncation | None:
    position, seconds, sound = 12, 0.0, None
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sI", file.read(8))
        if name == b"COMM":
            frames, exponent, mantissa = struct.unpack(">2xI2xHQ", file.read(18))
            try:
                rate = ldexp(mantissa, (exponent & 0x7FFF) - 16383 - 63)
            except OverflowError:  # damaged; the decoder will say so
                rate = 0.0
            seconds = frames / rate if rate >= 1 else 0.0
        elif name == b"SSND" and not _unknown_32(length):
            sound = (length - 8, size - position - 16)
        position += 8 + length + length % 2
    if sound is None:
        return None
    return Truncation(*sound, bytes_per_second=sound[0] / seconds if seconds else 0.0)


def _wave64(file: Seekable, size: int) -> Truncation | None:
    position, bytes_per_second = 40, 0
    while position + 24 <= size:
        file.seek(position)
        name, length = struct.unpack("<4s12xQ", file.read(24))
        if name == b"fmt ":
            bytes_per_second = struct.unpack("<8xI", file.read(12))[0]
        elif name == b"data":
            return Truncation(length - 24, size - position - 24, bytes_per_second) if length > 24 else None
        position += max(24, (length + 7) // 8 * 8)
    return None


def _caf(file: Seekable, size: int) -> Truncation | None:
    position, bytes_per_second = 8, 0.0
    while position + 12 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sq", file.read(12))
        if name == b"desc":
            rate, packet_bytes, packet_frames = struct.unpack(">d8xII", file.read(24))
            bytes_per_second = rate * packet_bytes / packet_frames if packet_frames else 0.0
        elif name == b"data":
            return Truncation(length, size - position - 12, bytes_per_second) if length > 0 else None
        position += 12 + max(0, length)
    return None


def _mp4(file: Seekable, size: int) -> Truncation | None:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, _name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length < 8:  # 0: this box goes on to the end of the file
            return None
        position += length
    return Truncation(position, size) if position > size else None


def _ogg(file: Seekable, size: int) -> Truncation | None:
    # Ogg promises no length, but a page does: a page that stops half way is the end of a broken download.
    start = max(0, size - 2 * 65_307)  # the largest page
    file.seek(start)
    tail = file.read(size - start)
    page = tail.rfind(b"OggS")
    if page < 0 or page + 27 > len(tail):
        return None
    num_segments = tail[page + 26]
    table = tail[page + 27 : page + 27 + num_segments]
    return Truncation(start + page + 27 + num_segments + sum(table), size, in_page=True)


def _matroska(file: Seekable, size: int) -> Truncation | None:
    file.seek(4)
    header, _ = _ebml_size(file)
    if header > size:
        return None
    file.seek(file.tell() + header)
    if file.read(4) != b"\x18\x53\x80\x67":  # the segment, which holds everything else
        return None
    length, unknown = _ebml_size(file)
    return None if unknown else Truncation(length, size - file.tell())


def _ebml_size(file: Seekable) -> tuple[int, bool]:
    """A size whose first byte tells by its leading zeros how many bytes it has, and whether it means 'unknown'."""
    first = struct.unpack("B", file.read(1))[0]
    if first == 0:
        raise struct.error("a size of more than eight bytes")
    extra = 8 - first.bit_length()
    value = int.from_bytes(bytes([first]) + file.read(extra), "big")
    bits = 7 * (extra + 1)
    value &= (1 << bits) - 1
    return value, value == (1 << bits) - 1


def is_mpeg_audio(head: bytes) -> bool:
    """Whether a file that begins so is an MP3, with or without a tag in front."""
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2)


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that begins with these ten bytes, its own header included; 0 where none begins."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    tag_bytes = 0
    for byte in head[6:10]:
        tag_bytes = tag_bytes << 7 | byte & 0x7F
    return 10 + tag_bytes + (10 if head[5] & 0x10 else 0)


def find_tagged_start(file: Seekable) -> int:
    """Where a WAVE, AIFF, FLAC or Ogg file begins behind ID3 tags that some programs put in front; else 0."""
    file.seek(0)
    start = 0
    head = file.read(12)
    while length := id3_bytes(head):
        start += length
        file.seek(start)
        head = file.read(12)
    return start if is_wave(head) or head[:4] in (b"FORM", b"fLaC", b"OggS") else 0


def _mp3(file: Seekable, size: int) -> Truncation | None:
    file.seek(0)
    head = file.read(10)
    start = id3_bytes(head)
    file.seek(start)
    frame = file.read(64)
    # The first frame of most MP3 files is silent and tells how many frames and bytes follow. Where in it depends on the
    # version and the channel mode only, but it is never far in, and its name is never found there by chance.
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or frame[:1] != b"\xff":
        return None
    flags, num_frames, num_bytes = struct.unpack(">III", frame[mark + 4 : mark + 16])
    if flags & 3 != 3 or num_bytes == 0:
        return None
    rate = (44100, 48000, 32000, 0)[frame[2] >> 2 & 3]
    version = frame[1] >> 3 & 3
    rate, frame_samples = {3: (rate, 1152), 2: (rate / 2, 576), 0: (rate / 4, 576)}.get(version, (0, 1))
    seconds = num_frames * frame_samples / rate if rate else 0.0
    return Truncation(num_bytes, size - start, num_bytes / seconds if seconds else 0.0)
