"""Writes FLAC, MP3 and Ogg Vorbis through libsndfile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.encode.labels import FLAC_PICTURE_AT, WithInsertion, flac_picture_block, id3_tag
from unbraid.audio.encode.ogg import finish_ogg
from unbraid.audio.formats import TAG_NAMES, Container, Cover, Encoding
from unbraid.audio.layout import to_vorbis
from unbraid.audio.pcm import quantise
from unbraid.files.protocols import Rewritable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import soundfile
else:
    soundfile = LazyModule("soundfile")

_PIECE_SAMPLES = 16_384
"""Always so many at a time: the Vorbis encoder crashes on very long blocks and begins differently with short ones."""

_VORBIS_QUALITY = 0.8
"""ours: about 256 kbit/s for stereo."""


class SoundfileSink:
    """Encodes blocks into a seekable binary file object."""

    def __init__(
        self,
        file: Rewritable,
        sample_rate: int,
        num_channels: int,
        encoding: Encoding,
        *,
        tags: Mapping[str, str] | None = None,
        cover: Cover | None = None,
    ) -> None:
        self._encoding, self._cover = encoding, cover
        self._waiting = np.zeros((num_channels, 0), np.float32)
        tags = tags or {}
        self._target, self._guarded = file, _GuardedFile(_labelled(file, encoding.container, tags, cover))
        if encoding.container == "flac":
            subtype, bitrate_mode, level = f"PCM_{encoding.bits}", None, None
        elif encoding.container == "mp3":
            subtype, bitrate_mode = "MPEG_LAYER_III", "CONSTANT"
            level = _mp3_level(encoding.bitrate_kbps, sample_rate)
        else:
            subtype, bitrate_mode, level = "VORBIS", None, 1 - _VORBIS_QUALITY
        with self._guarded:
            self._file = soundfile.SoundFile(
                self._guarded,  # pyright: ignore[reportArgumentType]  # seek, tell and write are all it uses
                "w",
                samplerate=sample_rate,
                channels=num_channels,
                subtype=subtype,
                format=encoding.container.upper(),
                compression_level=level,
                bitrate_mode=bitrate_mode,
            )
            for name in () if encoding.container == "mp3" else TAG_NAMES:
                if text := tags.get(name):
                    setattr(self._file, name, text.encode("utf-8", "replace").decode("utf-8"))

    def write(self, block: np.ndarray) -> None:
        """Append (channel, sample); what is beyond full scale is clamped."""
        waiting = np.concatenate([self._waiting, block], axis=1)
        whole = waiting.shape[1] - waiting.shape[1] % _PIECE_SAMPLES
        self._encode(waiting[:, :whole])
        self._waiting = waiting[:, whole:].copy()

    def finish(self) -> None:
        """Flush the encoder."""
        self._encode(self._waiting)
        with self._guarded:
            self._file.close()
        if self._encoding.container == "ogg":
            finish_ogg(self._target, self._cover)

    def abandon(self) -> None:
        """Close the encoder of a file that will be thrown away."""
        with suppress(Exception):
            self._file.close()

    def _encode(self, block: np.ndarray) -> None:
        for start in range(0, block.shape[1], _PIECE_SAMPLES):
            piece = block[:, start : start + _PIECE_SAMPLES]
            piece = (to_vorbis(piece) if self._encoding.container == "ogg" else piece).T
            if self._encoding.is_lossy:
                data = np.ascontiguousarray(np.clip(piece, -1, 1), dtype=np.float32)
            else:
                # libsndfile takes the upper bits of a 32-bit integer; its own rounding of floats differs from ours.
                data = np.ascontiguousarray(quantise(piece, self._encoding.bits) << (32 - self._encoding.bits))
            with self._guarded:
                self._file.write(data)


def _labelled(file: Rewritable, container: Container, tags: Mapping[str, str], cover: Cover | None) -> Rewritable:
    """The file, with what libsndfile has no words for put into what it writes."""
    if container == "mp3" and (tag := id3_tag(tags, cover)):
        return WithInsertion(file, 0, tag)
    if container == "flac" and cover is not None:
        return WithInsertion(file, FLAC_PICTURE_AT, flac_picture_block(cover))
    return file


class _GuardedFile:
    """Keeps what goes wrong inside libsndfile's callbacks, which lose it, and raises it when control is back in Python.

    Ctrl-C counts too: an interrupt that falls into a callback would be swallowed.
    """

    def __init__(self, file: Rewritable) -> None:
        self._target = file
        self._error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            if self._error is None:
                written = self._target.write(data)
                return len(data) if written is None else written
        except BaseException as error:
            self._error = error
        return 0

    def read(self, count: int) -> bytes:
        return self._target.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._target.seek(offset, whence)
        except BaseException as error:
            self._error = self._error or error
        return -1

    def tell(self) -> int:
        try:
            return self._target.tell()
        except BaseException as error:
            self._error = self._error or error
        return -1

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if self._error is not None:
            raise self._error
        if isinstance(error, (soundfile.SoundFileError, AssertionError)):
            raise ValueError(f'the encoder failed ({error}): pass `container="wav"`') from error


def _mp3_level(bitrate_kbps: int, sample_rate: int) -> float:
    """libsndfile's compression level, 0 to 1, that gives a constant bit rate."""
    if sample_rate >= 32_000:
        highest, lowest = 320, 32
    else:
        highest, lowest = (160 if sample_rate >= 16_000 else 64), 8
    level = (highest - bitrate_kbps) / (highest - lowest)
    # At exactly 1 libsndfile refuses, because it tries the level as a quality of the variable rate first.
    return min(max(level, 0.0), 0.9999)
