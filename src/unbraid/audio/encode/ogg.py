"""Finishes Ogg Vorbis files: the same bytes each time, although the encoder draws the serial number of a stream from
the clock, and with a cover, for which libsndfile has no words.

A page (RFC 3533, section 6) has the serial number at byte 14, its own number at byte 18, its checksum at byte 22 and,
after 27 bytes, a table of the lengths of its segments; a packet ends with a segment of less than 255 bytes.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

from unbraid.audio.encode.labels import flac_picture_block
from unbraid.audio.formats import Cover
from unbraid.files.protocols import Rewritable

_SERIAL, _CHECKSUM, _TABLE = 14, 22, 27
_FULL = 255
"""Bytes in a segment that is not the last of its packet, and segments in a page."""
_CONTINUED = 1
_NO_PACKET_ENDS = (1 << 64) - 1
_MOVED_BYTES = 1 << 20
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def finish_ogg(file: Rewritable, cover: Cover | None) -> None:
    """Puts the cover among the comments of a whole Ogg Vorbis file, and gives its one stream a serial number that
    follows from its content.

    A number of its own and not the same for all: files may be chained, and then have to differ.
    """
    if cover is not None:
        picture = base64.b64encode(flac_picture_block(cover)[4:])
        _add_comment(file, b"METADATA_BLOCK_PICTURE=" + picture)
    serial = 0
    for start, header, length in _pages(file):
        file.seek(start + len(header))
        serial = zlib.crc32(file.read(length - len(header)), serial)
    for number, (start, _, length) in enumerate(_pages(file)):
        file.seek(start)
        page = bytearray(file.read(length))
        struct.pack_into("<III", page, _SERIAL, serial, number, 0)
        struct.pack_into("<I", page, _CHECKSUM, _checksum(page))
        file.seek(start)
        file.write(bytes(page))
    file.seek(0, 2)


def _add_comment(file: Rewritable, comment: bytes) -> None:
    """One more entry in the second packet, which with the third has pages of its own (Vorbis I, section A.2)."""
    pages = _pages(file)
    _, _, first = next(pages)
    packets, end = [b""], first
    while len(packets) < 3:
        start, header, length = next(pages)
        file.seek(start + len(header))
        for segment in header[_TABLE:]:
            packets[-1] += file.read(segment)
            if segment < _FULL:
                packets.append(b"")
        end = start + length
    comments, setup, _ = packets
    # A mark of seven bytes, the name of the encoder, the number of entries, the entries, and a last byte.
    count_at = 11 + struct.unpack_from("<I", comments, 7)[0]
    count = struct.unpack_from("<I", comments, count_at)[0]
    entry = struct.pack("<I", len(comment)) + comment
    comments = b"".join(
        (comments[:count_at], struct.pack("<I", count + 1), comments[count_at + 4 : -1], entry, comments[-1:])
    )
    pages = _paged([comments, setup])
    _move(file, end, first + len(pages) - end)
    file.seek(first)
    file.write(pages)


def _paged(packets: list[bytes]) -> bytes:
    """Packets of headers in pages, whose serial numbers, numbers and checksums are still to come."""
    table = [size for packet in packets for size in (*[_FULL] * (len(packet) // _FULL), len(packet) % _FULL)]
    body, parts, at, is_continued = b"".join(packets), list[bytes](), 0, 0
    for start in range(0, len(table), _FULL):
        segments = table[start : start + _FULL]
        granule = 0 if min(segments) < _FULL else _NO_PACKET_ENDS
        header = struct.pack("<4sBBQIIIB", b"OggS", 0, is_continued, granule, 0, 0, 0, len(segments))
        parts += header, bytes(segments), body[at : at + sum(segments)]
        at += sum(segments)
        is_continued = _CONTINUED if segments[-1] == _FULL else 0
    return b"".join(parts)


def _move(file: Rewritable, start: int, distance: int) -> None:
    """Moves what comes from `start` on towards the end of the file, its end first."""
    position = file.seek(0, 2)
    while position > start:
        size = min(_MOVED_BYTES, position - start)
        position -= size
        file.seek(position)
        data = file.read(size)
        file.seek(position + distance)
        file.write(data)


def _pages(file: Rewritable) -> Iterator[tuple[int, bytes, int]]:
    """Where each page starts, its header with the table of segments, and its length in bytes."""
    start = 0
    while True:
        file.seek(start)
        header = file.read(_TABLE)
        if len(header) < _TABLE:
            return
        header += file.read(header[-1])
        length = len(header) + sum(header[_TABLE:])
        yield start, header, length
        start += length


def _checksum(page: bytes | bytearray) -> int:
    """Ogg's is that of zlib with the bits of each byte, and of the sum, the other way round, and without inversions."""
    turned = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(turned.to_bytes(4, "little").translate(_REVERSED))
