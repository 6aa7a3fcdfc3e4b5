"""What the chunks of a WAVE file tell beside its samples: speakers, the true length of compressed data, tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from unbraid.audio.formats import decode_tag
from unbraid.files.protocols import Seekable

_PLAIN = frozenset({1, 3, 6, 7})
"""PCM, float and the two companded kinds: one sample is one code, so that the bytes tell the length."""

_EXTENSIBLE = 0xFFFE

_INFO_TAGS = {
    b"INAM": "title",
    b"IART": "artist",
    b"IPRD": "album",
    b"ICRD": "date",
    b"IGNR": "genre",
    b"ITRK": "tracknumber",
    b"IPRT": "tracknumber",
    b"ICMT": "comment",
    b"ICOP": "copyright",
}

_LONGEST_TAGS_BYTES = 1 << 20

MOST_CHUNKS = 10_000
"""ours: recorders write a few, and with marks some hundred; decoders would go through millions for minutes."""


@dataclass(frozen=True, kw_only=True)
class WaveHeader:
    """What is known of a WAVE file without decoding it."""

    is_compressed: bool = False
    """Blocks of bytes stand for blocks of samples, so that only `fact_samples` tells the length exactly."""
    channel_mask: int | None = None
    """Speakers as bits (dwChannelMask); None where the header has no place for them."""
    fact_samples: int | None = None
    """Per channel, what the encoder says that it was given."""
    block_samples: int = 0
    """Per channel, in one compressed block; 0 where it is not told."""
    tags: Mapping[str, str] = field(default_factory=dict)
    is_endless: bool = False
    """None of the first `MOST_CHUNKS` chunks holds samples."""

    def true_length(self, decoded: int) -> int | None:
        """How many of the samples that a decoder finds are the recording; None where nothing promises a length.

        A count that is off by more than the padding of the last blocks was never filled in.
        """
        if not self.is_compressed:
            return decoded
        slack = 2 * max(self.block_samples, 2048)
        if self.fact_samples and 0 <= decoded - self.fact_samples < slack:
            return self.fact_samples
        return None


def is_wave(head: bytes) -> bool:
    """Whether a file that begins so is a WAVE file of any size and byte order."""
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def iter_chunks(file: Seekable, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, length in bytes and position of the content of every chunk that begins in the file, a WAVE or AIFF.

    The length is what the header says. A length that is unknown ends the walk.
    """
    file.seek(0)
    order = ">" if file.read(4) in (b"RIFX", b"FORM") else "<"
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + 8 > size:
            return
        file.seek(position)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        yield name, length, position + 8
        position += 8 + length + length % 2


def read_wave_header(file: Seekable) -> WaveHeader:
    """Reads what there is; the position of the file is lost."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    found: dict = {}
    names: list[bytes] = []
    try:
        for name, length, position in iter_chunks(file, size):
            names.append(name)
            file.seek(position)
            if name == b"fmt ":
                found |= _format(file.read(min(length, 64)), order)
            elif name == b"fact" and length >= 4:
                count = struct.unpack(f"{order}I", file.read(4))[0]
                found["fact_samples"] = count if 0 < count < 0xFFFFFFFF else None
            elif name == b"LIST" and 4 <= length <= _LONGEST_TAGS_BYTES:
                content = file.read(length)
                if content[:4] == b"INFO":
                    found["tags"] = {**_info(content[4:], order), **found.get("tags", {})}
    except struct.error:
        pass  # The header is cut; the decoder says what is missing.
    return WaveHeader(**found, is_endless=len(names) == MOST_CHUNKS and b"data" not in names)


def _format(content: bytes, order: str) -> dict:
    tag = struct.unpack(f"{order}H", content[:2])[0]
    mask = None
    if tag == _EXTENSIBLE and len(content) >= 26:
        mask, tag = struct.unpack(f"{order}IH", content[20:26])
    # What comes 18 bytes in depends on the kind; in ADPCM and GSM it is the samples of a block.
    block = struct.unpack(f"{order}H", content[18:20])[0] if len(content) >= 20 and tag in (0x02, 0x11, 0x31) else 0
    return {"is_compressed": tag not in _PLAIN, "channel_mask": mask, "block_samples": block}


def _info(content: bytes, order: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    position = 0
    while position + 8 <= len(content):
        code, length = struct.unpack(f"{order}4sI", content[position : position + 8])
        if code in _INFO_TAGS:
            text = decode_tag(content[position + 8 : position + 8 + length].split(b"\0")[0])
            if text:
                tags.setdefault(_INFO_TAGS[code], text)
        position += 8 + length + length % 2
    return tags
