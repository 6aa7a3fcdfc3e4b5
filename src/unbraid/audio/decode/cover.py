"""Finds the picture that a recording carries as its cover."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from unbraid.audio.decode.containers import codec_name, open_container
from unbraid.audio.decode.headers import id3_bytes
from unbraid.audio.decode.riff import is_wave, iter_chunks
from unbraid.audio.formats import LARGEST_COVER_BYTES, Cover
from unbraid.audio.sources import Source
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.error
    import av.stream
else:
    av = LazyModule("av")

_KINDS = {"mjpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "bmp": "image/bmp", "webp": "image/webp"}
"""Pictures, in FFmpeg's words."""
_FRONT = "Cover (front)"
_OGG_HEADER_BYTES = 1 << 16
_FLAC_PICTURE = 6


def read_cover(source: Source) -> Cover | None:
    """The front cover, else the first picture, as its bytes are; None where there is none that can be read, or where
    it is larger than FLAC holds."""
    try:
        with open_container(source.open()) as container:
            attached = av.stream.Disposition.attached_pic
            pictures = [stream for stream in container.streams.video if stream.disposition & attached]
            pictures.sort(key=lambda stream: stream.metadata.get("comment") != _FRONT)
            for picture in pictures:
                kind = _KINDS.get(codec_name(picture))
                data = next((bytes(packet) for packet in container.demux(picture) if packet.size), b"")
                if kind is not None and 0 < len(data) <= LARGEST_COVER_BYTES:
                    return Cover(kind=kind, data=data)
    except (av.error.FFmpegError, OSError, ValueError):
        pass
    return None


def may_have_cover(source: Source) -> bool:
    """A quick look at a file that libsndfile reads, which spares most files being opened by libav."""
    with source.view() as file:
        head = file.read(12)
        start = id3_bytes(head)
        if start:
            file.seek(0)
            tag = file.read(min(start, 2 * LARGEST_COVER_BYTES))
            if b"APIC" in tag or b"PIC" in tag:
                return True
            file.seek(start)
            head = file.read(12)
        if (is_wave(head) or head[:4] == b"FORM") and not start:
            return any(name.lower() == b"id3 " for name, _, _ in iter_chunks(file, source.size))
        if head[:4] == b"OggS":
            file.seek(start)
            return b"metadata_block_picture" in file.read(_OGG_HEADER_BYTES).lower()
        if head[:4] == b"fLaC":
            file.seek(start + 4)
            return _flac_has_picture(file)
    return False


def _flac_has_picture(file: io.BufferedReader) -> bool:
    is_last = False
    while not is_last and len(header := file.read(4)) == 4:
        is_last = bool(header[0] & 0x80)
        if header[0] & 0x7F == _FLAC_PICTURE:
            return True
        file.seek(int.from_bytes(header[1:]), io.SEEK_CUR)
    return False
