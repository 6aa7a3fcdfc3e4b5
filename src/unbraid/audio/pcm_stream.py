"""Samples from a pipe while they arrive: raw PCM, or WAV whose end nobody knows yet.

Recordings that are read as a whole come through `audio.reading`; it copies a pipe first, because decoders seek.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unbraid.audio.formats import SampleFormat, check_rate
from unbraid.audio.pcm import decode_pcm, sample_bits
from unbraid.errors import AudioReadError, ConfigError

_EXTENSIBLE = 0xFFFE
_INTEGER, _FLOAT = 1, 3
_OPEN_ENDED = 0x7FFFFFFF
"""A length from here on is what programs write that do not know it."""
_MOST_HEADER_BYTES = 1 << 20

ReadExactly = Callable[[int], bytes]
"""So many bytes, or fewer where the stream ends."""


@dataclass(frozen=True, kw_only=True)
class PcmFormat:
    """How samples stand in a stream of bytes, little endian."""

    sample: SampleFormat = "int16"
    """How one sample is stored."""
    sample_rate: int = 16_000
    """In Hz."""
    num_channels: int = 1
    """Channels, which are interleaved."""

    def __post_init__(self) -> None:
        check_rate(self.sample_rate, "the stream", ConfigError)
        if self.num_channels < 1:
            raise ConfigError(f"the stream has {self.num_channels} channels: it needs at least one")

    @property
    def frame_bytes(self) -> int:
        return self.num_channels * sample_bits(self.sample) // 8


def read_wav_start(read: ReadExactly, name: str) -> tuple[PcmFormat, int | None]:
    """The format, and how many bytes of samples the header promises, or None; `read` then gives the first sample."""
    start = read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        told = "is empty" if not start else "does not begin as WAV does"
        raise AudioReadError(told, subject=name, remedy="send WAV, or say what raw samples are with `raw`")
    form: PcmFormat | None = None
    passed = len(start)
    while True:
        head = read(8)
        if len(head) < 8:
            raise AudioReadError("ends within its WAV header", subject=name, remedy="check what sends it")
        kind, size = head[:4], struct.unpack("<I", head[4:])[0]
        if kind == b"data":
            if form is None:
                raise AudioReadError("has samples before their format", subject=name, remedy="check what sends it")
            return form, size if 0 < size < _OPEN_ENDED else None
        passed += size
        if passed > _MOST_HEADER_BYTES:
            raise AudioReadError("has a WAV header of more than 1 MiB", subject=name, remedy="check what sends it")
        content = read(size + size % 2)
        if kind == b"fmt ":
            form = _parse_format(content, name)


def _parse_format(content: bytes, name: str) -> PcmFormat:
    if len(content) < 16:
        raise AudioReadError("has a WAV header that is damaged", subject=name, remedy="check what sends it")
    tag, num_channels, sample_rate = struct.unpack("<HHI", content[:8])
    bits = struct.unpack("<H", content[14:16])[0]
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack("<H", content[24:26])[0]
    known: dict[tuple[int, int], SampleFormat] = {
        (_INTEGER, 16): "int16",
        (_INTEGER, 24): "int24",
        (_INTEGER, 32): "int32",
        (_FLOAT, 32): "float32",
        (_FLOAT, 64): "float64",
    }
    if (tag, bits) not in known:
        raise AudioReadError(
            f"holds samples of kind {tag} with {bits} bits",
            subject=name,
            remedy="send integers of 16, 24 or 32 bits, or floats of 32 or 64",
        )
    check_rate(sample_rate, name, AudioReadError)
    if num_channels < 1:
        raise AudioReadError("has no channels by its WAV header", subject=name, remedy="check what sends it")
    return PcmFormat(sample=known[tag, bits], sample_rate=sample_rate, num_channels=num_channels)


class PcmDecoder:
    """Bytes in pieces of any sizes to samples; a frame that is not whole yet waits for its rest."""

    def __init__(self, form: PcmFormat, promised_bytes: int | None = None) -> None:
        self.form = form
        self._left = promised_bytes
        self._rest = b""

    def push(self, data: bytes) -> np.ndarray:
        """The (channel, sample) that are whole now, in float32; what follows the promised bytes is no sound."""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        data = self._rest + data
        whole = len(data) // self.form.frame_bytes * self.form.frame_bytes
        self._rest = data[whole:]
        return decode_pcm(data[:whole], self.form.sample, self.form.num_channels)

    @property
    def rest_bytes(self) -> int:
        """Bytes of a frame that never became whole."""
        return len(self._rest)

    @property
    def missing_bytes(self) -> int:
        """Bytes that were promised and did not come."""
        return self._left or 0
