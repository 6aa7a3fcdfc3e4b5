"""Ogg files that are the same bytes each time: the encoder draws the serial number of a stream from the clock.

A page (RFC 3533, section 6) has the serial number at byte 14, its own checksum at byte 22 and, after 27 bytes, a table
of the lengths of its segments.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

from unbraid.files.protocols import Rewritable

_SERIAL, _CHECKSUM, _TABLE = 14, 22, 27
_POLYNOMIAL = 0x04C11DB7


def settle_serial_number(file: Rewritable) -> None:
    """Gives the one stream of a whole Ogg file a serial number that follows from its content.

    A number of its own and not the same for all: files may be chained, and then have to differ.
    """
    new = 0
    for start, header, length in _pages(file):
        file.seek(start + len(header))
        new = zlib.crc32(file.read(length - len(header)), new)
    for start, header, length in _pages(file):
        old, checksum = (struct.unpack_from("<I", header, at)[0] for at in (_SERIAL, _CHECKSUM))
        file.seek(start + _SERIAL)
        file.write(struct.pack("<I", new))
        file.seek(start + _CHECKSUM)
        file.write(struct.pack("<I", checksum ^ _change_of_checksum(old ^ new, length - _SERIAL)))
    file.seek(0, 2)


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


@lru_cache(maxsize=4096)
def _change_of_checksum(difference: int, distance: int) -> int:
    """What a difference in four bytes that lie so many bytes before the end of a page changes in its checksum.

    The checksum is the remainder of the page as a polynomial over GF(2), so that what two pages differ in has the
    remainder that their checksums differ in.
    """
    value = int.from_bytes(struct.pack("<I", difference), "big")
    power, square, exponent = 1, 2, 8 * distance
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return _product(value, power)


def _product(one: int, other: int) -> int:
    """Of two polynomials over GF(2), modulo that of the checksum."""
    total = 0
    for bit in range(31, -1, -1):
        total <<= 1
        if total >> 32:
            total = (total ^ _POLYNOMIAL) & 0xFFFFFFFF
        if other >> bit & 1:
            total ^= one
    return total
