"""Divides a Standard MIDI File into one per group of instruments, each as long as the whole.

All events stay where they are, except that of the notes only those of one group are begun. So tempo, programs and
controllers are the same in every part, and what a synthesiser makes of the parts adds up to what it makes of the whole,
but for what its voices have to do with each other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from unbraid.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import mido

Group = Literal["drums", "bass", "other"]

GROUPS: tuple[Group, ...] = ("drums", "bass", "other")

_DRUM_CHANNEL = 9
"""Channel 10 of General MIDI, counted from 0."""
_BASS_PROGRAMS = range(32, 40)
"""Of General MIDI, counted from 0."""


class MidiFile:
    """A Standard MIDI File of format 0 or 1. Raises DataError if the bytes are not one."""

    def __init__(self, content: bytes, name: str) -> None:
        try:
            import mido
        except ImportError as error:
            raise MissingExtraError("mido", "midi", "reading MIDI files") from error
        try:
            # Data bytes beyond 127 occur in the wild, and synthesisers bear them.
            self._file = mido.MidiFile(file=io.BytesIO(content), clip=True)
            if self._file.type not in (0, 1) or not self._file.tracks:
                raise ValueError("not of format 0 or 1, or without tracks")
        # What is not MIDI ends in errors of many kinds there.
        except Exception as error:
            raise DataError(
                "is not a Standard MIDI File, or is damaged", subject=name, remedy="get another copy"
            ) from error
        # Programs may be set in another track than the notes are in, so that they are looked up by time.
        events = [event for track in self._file.tracks for event in _timed(track) if event[1].type == "program_change"]
        self._programs: dict[int, list[tuple[int, int]]] = {}
        for tick, change in sorted(events, key=lambda event: event[0]):
            self._programs.setdefault(change.channel, []).append((tick, change.program))

    def groups(self) -> tuple[Group, ...]:
        """Those that have notes."""
        events = (event for track in self._file.tracks for event in _timed(track))
        there = {self._group(tick, message) for tick, message in events if _begins_note(message)}
        return tuple(group for group in GROUPS if group in there)

    def part(self, group: Group) -> bytes:
        """The file with the notes of that group only."""
        import mido

        tracks = [mido.MidiTrack(self._kept(track, group)) for track in self._file.tracks]
        file = io.BytesIO()
        mido.MidiFile(type=self._file.type, ticks_per_beat=self._file.ticks_per_beat, tracks=tracks).save(file=file)
        return file.getvalue()

    def _kept(self, track: mido.MidiTrack, group: Group) -> Iterator[Any]:
        before = 0
        for tick, message in _timed(track):
            # Realtime messages, such as a clock, have no place in files, and mido does not write them.
            if message.is_realtime or (_begins_note(message) and self._group(tick, message) != group):
                continue
            yield message.copy(time=tick - before)
            before = tick

    def _group(self, tick: int, note: Any) -> Group:
        if note.channel == _DRUM_CHANNEL:
            return "drums"
        program = next((number for at, number in reversed(self._programs.get(note.channel, [])) if at <= tick), 0)
        return "bass" if program in _BASS_PROGRAMS else "other"


def _timed(track: mido.MidiTrack) -> Iterator[tuple[int, Any]]:
    """Every message (mido gives it its attributes by its type) with its tick from the beginning of the track."""
    return zip(accumulate(message.time for message in track), track, strict=True)


def _begins_note(message: Any) -> bool:
    return message.type == "note_on" and message.velocity > 0
