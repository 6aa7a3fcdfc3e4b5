"""Takes a Standard MIDI File apart into one per group of instruments, each as long as the whole.

All events stay where they are, except that of the notes only those of one group are begun. So tempo, programs and
controllers are the same in every part, and what a synthesiser makes of the parts adds up to what it makes of the whole,
but for what its voices have to do with each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from unbraid.errors import DataError

Group = Literal["drums", "bass", "other"]

GROUPS: tuple[Group, ...] = ("drums", "bass", "other")

_DRUM_CHANNEL = 9
"""Channel 10 of General MIDI, counted from 0."""
_BASS_PROGRAMS = range(32, 40)
"""Of General MIDI, counted from 0."""
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
"""By the upper half of the status byte."""


@dataclass(frozen=True)
class _Event:
    tick: int
    """From the beginning of the track."""
    status: int
    data: bytes
    """All that follows the status: for system and meta events with type and length."""

    @property
    def channel(self) -> int:
        return self.status & 0x0F

    @property
    def begins_note(self) -> bool:
        return self.status >> 4 == 0x9 and self.data[1] > 0


class MidiFile:
    """A Standard MIDI File of format 0 or 1. Raises DataError if the bytes are not one."""

    def __init__(self, content: bytes, name: str) -> None:
        try:
            self._header, chunks = _chunks(content)
            self._tracks = [list(_events(chunk)) for chunk in chunks]
        except (IndexError, struct.error, ValueError) as error:
            raise DataError(
                "is not a Standard MIDI File, or is damaged", subject=name, remedy="get another copy"
            ) from error
        # Programs may be set in another track than the notes are in, so that they are looked up by time.
        changes = [event for track in self._tracks for event in track if event.status >> 4 == 0xC]
        self._programs: dict[int, list[tuple[int, int]]] = {}
        for event in sorted(changes, key=lambda event: event.tick):
            self._programs.setdefault(event.channel, []).append((event.tick, event.data[0]))

    def groups(self) -> tuple[Group, ...]:
        """Those that have notes."""
        there = {self._group(event) for track in self._tracks for event in track if event.begins_note}
        return tuple(group for group in GROUPS if group in there)

    def part(self, group: Group) -> bytes:
        """The file with the notes of that group only."""
        content = self._header
        for track in self._tracks:
            kept = (event for event in track if not event.begins_note or self._group(event) == group)
            encoded = _encode(kept)
            content += b"MTrk" + struct.pack(">I", len(encoded)) + encoded
        return content

    def _group(self, note: _Event) -> Group:
        if note.channel == _DRUM_CHANNEL:
            return "drums"
        program = 0
        for tick, number in self._programs.get(note.channel, []):
            if tick > note.tick:
                break
            program = number
        return "bass" if program in _BASS_PROGRAMS else "other"


def _chunks(content: bytes) -> tuple[bytes, list[bytes]]:
    """The header as it stands, and what is in each track."""
    name, length, kind = struct.unpack_from(">4sIH", content)
    if name != b"MThd" or kind not in (0, 1):
        raise ValueError("not a MIDI file of format 0 or 1")
    position, tracks = 8 + length, []
    while position + 8 <= len(content):
        name, size = struct.unpack_from(">4sI", content, position)
        if position + 8 + size > len(content):
            raise ValueError("a track is cut short")
        if name == b"MTrk":
            tracks.append(content[position + 8 : position + 8 + size])
        position += 8 + size
    if not tracks:
        raise ValueError("no tracks")
    return content[: 8 + length], tracks


def _events(track: bytes) -> Iterator[_Event]:
    position, tick, running = 0, 0, 0
    while position < len(track):
        delta, position = _number(track, position)
        tick += delta
        status = track[position]
        if status < 0x80:
            status = running  # The status of the event before goes on.
        else:
            position += 1
        if status in (0xF0, 0xF7, 0xFF):
            begin = position
            if status == 0xFF:
                position += 1
            length, position = _number(track, position)
            position += length
            running = 0
        elif status >> 4 in _DATA_BYTES:
            begin, position = position, position + _DATA_BYTES[status >> 4]
            running = status
        else:
            raise ValueError("an event without a status")
        if position > len(track):
            raise ValueError("an event is cut short")
        yield _Event(tick, status, track[begin:position])


def _encode(events: Iterator[_Event]) -> bytes:
    encoded, before = bytearray(), 0
    for event in events:
        encoded += _variable(event.tick - before) + bytes([event.status]) + event.data
        before = event.tick
    return bytes(encoded)


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the position after it."""
    value = 0
    while True:
        byte = data[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position


def _variable(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))
