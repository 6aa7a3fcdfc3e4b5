"""Writes WAV, which turns itself into RF64 when it outgrows the 4 GiB that a WAV can count (EBU Tech 3306)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import partial

import numpy as np

from unbraid.audio.encode.labels import id3_tag
from unbraid.audio.formats import Cover, Encoding
from unbraid.audio.layout import USUAL_MASKS
from unbraid.audio.pcm import encode_pcm
from unbraid.files.protocols import Rewritable, Writable

LARGEST_32 = 0xFFFFFFFF

_SAFELY_SMALL_BYTES = 1 << 31

_FLOAT_TAG, _PCM_TAG, _EXTENSIBLE_TAG = 3, 1, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_LIKELY_MASKS = {6: 0x3F, 8: 0x63F}
"""5.1 and 7.1, where nothing tells; the layouts of other counts above two are not certain, and 0 says so."""

_INFO_NAMES = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "date": b"ICRD",
    "genre": b"IGNR",
    "tracknumber": b"ITRK",
    "comment": b"ICMT",
    "copyright": b"ICOP",
}


def may_outgrow(expected_samples: int | None, num_channels: int, encoding: Encoding) -> bool:
    """Whether room for RF64 sizes must be kept in the header: always, unless the end is known and far below 4 GiB."""
    if expected_samples is None:
        return True
    return expected_samples * num_channels * encoding.bits // 8 > _SAFELY_SMALL_BYTES


class WavSink:
    """Encodes blocks into a binary file object; `finish` writes the sizes, unless the file cannot be seeked.

    expected_samples: per channel; without it, or above 2 GiB, 36 bytes of the header are set aside for RF64.
    """

    def __init__(
        self,
        file: Writable,
        sample_rate: int,
        num_channels: int,
        encoding: Encoding,
        *,
        expected_samples: int | None = None,
        tags: Mapping[str, str] | None = None,
        cover: Cover | None = None,
        streamed: bool = False,
        channel_mask: int | None = None,
    ) -> None:
        self._file = file
        self._encoding = encoding
        self._frame_bytes = num_channels * encoding.bits // 8
        self._data_bytes = 0
        self._streamed = streamed
        self._reserved = not self._streamed and may_outgrow(expected_samples, num_channels, encoding)
        head = b"RIFF" + struct.pack("<I", LARGEST_32) + b"WAVE"
        if self._reserved:
            head += b"JUNK" + struct.pack("<I", 28) + bytes(28)
        head += _format_chunk(sample_rate, num_channels, encoding, channel_mask)
        self._fact_at = len(head) + 8 if encoding.is_float else None
        if encoding.is_float:
            head += b"fact" + struct.pack("<II", 4, LARGEST_32)
        head += _info_chunk(tags or {})
        if cover is not None:
            tag = id3_tag(tags or {}, cover)
            head += b"id3 " + struct.pack("<I", len(tag)) + tag + bytes(len(tag) % 2)
        # A reader that meets this size without a seekable file takes all that comes.
        head += b"data" + struct.pack("<I", LARGEST_32)
        self._head_bytes = len(head)
        file.write(head)

    def write(self, block: np.ndarray) -> None:
        """Append (channel, sample)."""
        data = encode_pcm(block, self._encoding.sample or "float32")
        self._data_bytes += len(data)
        self._file.write(data)

    def finish(self) -> None:
        """Pad, and put the true sizes into the header."""
        if self._streamed:
            self._file.flush()
            return
        if self._data_bytes % 2:
            self._file.write(b"\0")
        assert isinstance(self._file, Rewritable)
        patch = partial(_patch, self._file)
        num_frames = self._data_bytes // self._frame_bytes
        riff_bytes = self._head_bytes - 8 + self._data_bytes + self._data_bytes % 2
        if riff_bytes <= LARGEST_32:
            patch(4, struct.pack("<I", riff_bytes))
            patch(self._head_bytes - 4, struct.pack("<I", self._data_bytes))
        else:
            if not self._reserved:
                raise ValueError("it grew past 4 GiB although a short recording was announced")
            patch(0, b"RF64")
            patch(12, b"ds64" + struct.pack("<IQQQI", 28, riff_bytes, self._data_bytes, num_frames, 0))
        if self._fact_at is not None:
            patch(self._fact_at, struct.pack("<I", min(num_frames, LARGEST_32)))


def _patch(file: Rewritable, position: int, data: bytes) -> None:
    file.seek(position)
    file.write(data)


def _format_chunk(sample_rate: int, num_channels: int, encoding: Encoding, channel_mask: int | None) -> bytes:
    tag = _FLOAT_TAG if encoding.is_float else _PCM_TAG
    sample_bytes = encoding.bits // 8
    frame_bytes = num_channels * sample_bytes
    if channel_mask is None:
        channel_mask = _LIKELY_MASKS.get(num_channels, 0)
    extended = num_channels > 2 or channel_mask not in (0, USUAL_MASKS[num_channels])
    body = struct.pack(
        "<HHIIHH",
        _EXTENSIBLE_TAG if extended else tag,
        num_channels,
        sample_rate,
        min(sample_rate * frame_bytes, LARGEST_32),
        frame_bytes,
        encoding.bits,
    )
    if extended:
        body += struct.pack("<HHIH", 22, encoding.bits, channel_mask, tag) + _GUID_TAIL
    elif encoding.is_float:
        body += struct.pack("<H", 0)
    return b"fmt " + struct.pack("<I", len(body)) + body


def _info_chunk(tags: Mapping[str, str]) -> bytes:
    body = b""
    for name, code in _INFO_NAMES.items():
        if text := tags.get(name):
            data = text.encode("utf-8", "replace") + b"\0"
            body += code + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"LIST" + struct.pack("<I", 4 + len(body)) + b"INFO" + body if body else b""
