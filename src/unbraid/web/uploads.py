"""Takes recordings in: a form is read piece by piece, and the recording goes to the disk as it comes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError, UnbraidError
from unbraid.files.names import escape_controls

_MOST_FIELDS, _LONGEST_FIELD_BYTES = 40, 4096
_LONGEST_NAME = 200
_PATIENCE_SECONDS = 60.0
"""ours: for the next piece of an upload; who sends nothing for longer is gone."""
_SPARE_BYTES = 500_000_000
"""ours: that stay free on the disk."""


class Refused(Exception):
    """A request that is not taken, with the status of its answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class RecordingForm:
    """Reads a multipart form with one file, `file`, into a path, and its other fields into texts."""

    def __init__(self, content_type: str, path: Path, most_bytes: int) -> None:
        kind, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise Refused(415, "send the recording as the field `file` of a form (multipart/form-data)")
        self.fields: dict[str, str] = {}
        self.name: str | None = None
        """Of the recording, as its owner calls it."""
        self.size = 0
        """Bytes of the recording so far."""
        self._path, self._most_bytes = path, most_bytes
        self._file: BinaryIO | None = None
        self._headers: dict[str, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._field, self._text = "", bytearray()
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    async def read(self, pieces: AsyncIterator[bytes]) -> None:
        """All of the form; raises Refused where it is too large, broken, or without a recording."""
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(anext(pieces), _PATIENCE_SECONDS)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise Refused(408, "the upload stopped half-way: send it again") from None
                try:
                    # Writing waits for the disk, and everybody else's page must not.
                    await asyncio.to_thread(self._parser.write, piece)
                except FormParserError as error:
                    raise Refused(400, f"the form cannot be read ({error})") from error
                except OSError as error:
                    raise Refused(507, f"the recording cannot be stored ({error.strerror or error})") from error
        finally:
            if self._file is not None:
                self._file.close()
        if not self._complete:
            raise Refused(400, "the upload ended half-way: send it again")
        if self.name is None:
            raise Refused(422, "there is no recording in the form: send it as the field `file`")
        if self.size == 0:
            raise Refused(422, f"'{self.name}' is empty (0 bytes): check that it was recorded completely")

    def _begin_part(self) -> None:
        self._headers, self._field, self._text = {}, "", bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._bound(self._header)

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound(self._value)

    def _end_header(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()
        if len(self._headers) > 8:
            raise Refused(400, "the form has too many headers")

    def _end_headers(self) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition", b""))
        self._field = parameters.get(b"name", b"").decode("utf-8", "replace")
        if self._field == "file":
            if self.name is not None:
                raise Refused(422, "there are several recordings in the form: send each in a form of its own")
            self.name = plain_name(parameters.get(b"filename", b"").decode("utf-8", "replace"))
            self._file = open(self._path, "wb", buffering=1 << 20)  # noqa: SIM115
        elif len(self.fields) >= _MOST_FIELDS:
            raise Refused(400, "the form has too many fields")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._field != "file":
            self._text += data[start:end]
            self._bound(self._text)
            return
        assert self._file is not None
        self.size += end - start
        if self.size > self._most_bytes:
            raise Refused(413, too_large(self._most_bytes))
        self._file.write(data[start:end])

    def _end_part(self) -> None:
        if self._field == "file":
            assert self._file is not None
            self._file.close()
        else:
            self.fields[self._field] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True

    @staticmethod
    def _bound(text: bytearray) -> None:
        if len(text) > _LONGEST_FIELD_BYTES:
            raise Refused(413, "a field of the form is too long")


def plain_name(name: str) -> str:
    """What a recording is called on the page: the last part of a path, without anything that breaks a line."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return escape_controls(last)[:_LONGEST_NAME] or "recording"


def too_large(most_bytes: int) -> str:
    return f"the recording is larger than {most_bytes / 1e6:,.0f} MB, which is the most that this server takes"


def refuse_without_space(folder: Path, size: int) -> None:
    """Before an upload of that many bytes."""
    if shutil.disk_usage(folder).free < size + _SPARE_BYTES:
        raise Refused(507, "the disk of the server is nearly full: try again later, or remove old results")


def look_at(path: Path, name: str, most_seconds: float, *, allow_truncated: bool) -> float | None:
    """The length in seconds of an upload, where its header tells; raises Refused for what is no recording."""
    try:
        with open_audio(path, allow_truncated=allow_truncated) as reader:
            info = reader.info
            if next(reader.blocks(4096), None) is None:
                raise AudioReadError("holds no samples", subject=info.name, remedy="there is nothing to separate")
    except UnbraidError as error:
        raise Refused(422, f"'{name}' {error.predicate}" if str(path) in error.subject else str(error)) from error
    if info.expected_samples is None:
        return None
    seconds = info.expected_samples / info.sample_rate
    if seconds > most_seconds:
        raise Refused(413, f"'{name}' lasts longer than {most_seconds / 60:.4g} minutes: cut it into shorter pieces")
    return seconds
