"""Tags and covers as the formats keep them: ID3 (MP3, and WAVE in a chunk) and FLAC's picture block."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from unbraid.audio.formats import Cover
from unbraid.files.protocols import Rewritable

_FRAMES = {
    "title": b"TIT2",
    "artist": b"TPE1",
    "album": b"TALB",
    "date": b"TDRC",
    "genre": b"TCON",
    "tracknumber": b"TRCK",
    "copyright": b"TCOP",
}
_UTF_8 = b"\x03"
_FRONT = 3
_PICTURE_BLOCK = 6
FLAC_PICTURE_AT = 42
"""Bytes of a FLAC file that come before its first block but one: the mark, and the block that always comes first."""


def id3_tag(tags: Mapping[str, str], cover: Cover | None) -> bytes:
    """A whole ID3v2.4 tag; nothing where there is nothing to say."""
    frames = b""
    for name, text in tags.items():
        if not text:
            continue
        data = text.encode("utf-8", "replace")
        if name in _FRAMES:
            frames += _frame(_FRAMES[name], _UTF_8 + data)
        elif name == "comment":
            frames += _frame(b"COMM", _UTF_8 + b"und\0" + data)
        else:
            frames += _frame(b"TXXX", _UTF_8 + name.encode() + b"\0" + data)
    if cover is not None:
        frames += _frame(b"APIC", b"\0" + cover.kind.encode() + bytes([0, _FRONT, 0]) + cover.data)
    return b"ID3\x04\0\0" + _seven_bits(len(frames)) + frames if frames else b""


def _frame(name: bytes, content: bytes) -> bytes:
    return name + _seven_bits(len(content)) + b"\0\0" + content


def _seven_bits(number: int) -> bytes:
    """Four bytes of seven bits each, so that no reader takes them for the start of MP3."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def flac_picture_block(cover: Cover) -> bytes:
    """With its header; sizes in pixels are left to who opens the picture."""
    kind = cover.kind.encode()
    body = struct.pack(">II", _FRONT, len(kind)) + kind + struct.pack(">IIIIII", 0, 0, 0, 0, 0, len(cover.data))
    body += cover.data
    return bytes([_PICTURE_BLOCK]) + len(body).to_bytes(3) + body


class WithInsertion:
    """A file for an encoder that knows nothing of the bytes which are inserted at a place in what it writes."""

    def __init__(self, file: Rewritable, at: int, inserted: bytes) -> None:
        self._file, self._at, self._inserted = file, at, inserted
        self._position = 0
        """As the encoder counts."""
        self._is_in = False

    def write(self, data: bytes) -> int:
        before = max(0, min(len(data), self._at - self._position))
        self._put(self._position, data[:before])
        if before < len(data):
            if not self._is_in:
                self._put(self._at, self._inserted)
                self._is_in = True
            self._put(self._position + before + len(self._inserted), data[before:])
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            end = self._file.seek(0, 2)
            offset += end - len(self._inserted) if self._is_in else end
        elif whence == 1:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def read(self, count: int = -1) -> bytes:
        """Bytes that lie on one side of the place."""
        shift = len(self._inserted) if self._is_in and self._position >= self._at else 0
        self._file.seek(self._position + shift)
        data = self._file.read(count)
        self._position += len(data)
        return data

    def flush(self) -> None:
        self._file.flush()

    def _put(self, position: int, data: bytes) -> None:
        if data:
            self._file.seek(position)
            self._file.write(data)
