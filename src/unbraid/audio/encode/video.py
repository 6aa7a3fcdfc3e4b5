"""Writes sound beside a picture that is copied as it is, and several sounds to one file, through libav."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unbraid.audio.decode.libav import LIBAV_OPTIONS
from unbraid.audio.rate import Resampler
from unbraid.audio.reading import AudioReader
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError, AudioWriteError
from unbraid.files.protocols import Rewritable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.container
    import av.error
    import av.stream
else:
    av = LazyModule("av")

VideoContainer = Literal["mp4", "mov", "mkv"]

_FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
_BY_EXTENSION: dict[str, VideoContainer] = {"mp4": "mp4", "m4v": "mp4", "3gp": "mp4", "m4a": "mp4", "mov": "mov"}

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OTHER_RATE_HZ = 48_000
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_BITRATE_PER_CHANNEL = 128_000
"""ours: 256 kbit/s of stereo."""
_BLOCK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One sound track, encoded as AAC."""

    reader: AudioReader
    title: str = ""
    is_default: bool = True


def video_container(extension: str) -> VideoContainer:
    """Which a video with such a name becomes: MP4 and MOV stay what they are, and Matroska holds everything else."""
    return _BY_EXTENSION.get(extension.lower(), "mkv")


def has_picture(source: Source) -> bool:
    """Whether there is more to see than a cover."""
    with _open(source) as container:
        return any(not _is_cover(stream) for stream in container.streams.video)


def write_with_sounds(
    file: Rewritable,
    container: VideoContainer,
    sounds: Sequence[Sound],
    *,
    picture: Source | None,
    covers_only: bool = False,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Pictures, subtitles, covers and chapters' times of `picture` are copied packet by packet; its sounds are not.

    With `covers_only`, nothing of it but its cover. Sounds begin where the picture does.
    """
    with nullcontext(None) if picture is None else _open(picture) as source:
        options: dict[str, Any] = {"format": _FORMATS[container]}
        with av.open(file, "w", **options) as out:
            out.metadata.update({**(source.metadata if source is not None else {}), **(tags or {})})
            copies = {} if source is None else _copied(source, out, covers_only=covers_only)
            start = min((_start(stream) for stream in copies if not _is_cover(stream)), default=0.0)
            tracks = [_Track(out, sound, start) for sound in sounds]
            if source is not None:
                for packet in source.demux(list(copies)) if copies else ():
                    if packet.dts is None:
                        continue
                    if not _is_cover(packet.stream):
                        for track in tracks:
                            track.encode_until(float(packet.dts * packet.time_base))
                    packet.stream = copies[packet.stream]
                    out.mux(packet)
            # In turn, so that players find all tracks of a moment beside each other.
            moment = start
            while any(not track.is_done for track in tracks):
                moment += _BLOCK_SECONDS
                for track in tracks:
                    track.encode_until(moment)


class _Track:
    """One sound on its way into a file."""

    def __init__(self, out: Any, sound: Sound, start: float) -> None:
        info = sound.reader.info
        if info.num_channels not in _LAYOUTS:
            raise AudioWriteError(
                f"AAC is written of 1, 2 or 6 channels and the recording has {info.num_channels}",
                remedy="leave `video` and `stem_file` out",
            )
        self._rate = info.sample_rate if info.sample_rate in _AAC_RATES_HZ else _OTHER_RATE_HZ
        self._out, self._layout = out, _LAYOUTS[info.num_channels]
        self._stream = out.add_stream("aac", rate=self._rate, layout=self._layout)
        self._stream.bit_rate = min(_BITRATE_PER_CHANNEL, 3 * self._rate) * info.num_channels
        self._stream.time_base = Fraction(1, self._rate)
        if sound.title:
            self._stream.metadata["title"] = sound.title
        self._stream.disposition = av.stream.Disposition.default if sound.is_default else av.stream.Disposition(0)
        self._blocks = self._resampled(sound.reader)
        self._position = round(start * self._rate)
        self.is_done = False

    def encode_until(self, seconds: float) -> None:
        """All samples before that moment, and a few more."""
        while not self.is_done and self._position < seconds * self._rate:
            block = next(self._blocks, None)
            if block is None:
                self._out.mux(self._stream.encode(None))
                self.is_done = True
            elif block.shape[1]:
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(np.clip(block, -1, 1)), "fltp", self._layout)
                frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
                self._position += block.shape[1]
                self._out.mux(self._stream.encode(frame))

    def _resampled(self, reader: AudioReader) -> Iterator[np.ndarray]:
        info = reader.info
        resampler = Resampler(info.sample_rate, self._rate, info.num_channels)
        for block in reader.blocks(max(1, round(_BLOCK_SECONDS * info.sample_rate))):
            yield resampler.push(block)
        yield resampler.finish()


def _copied(source: Any, out: Any, *, covers_only: bool) -> dict[Any, Any]:
    """Streams that are copied, and what they are in the new file."""
    copies = {}
    for stream in source.streams:
        if stream.type not in ("video", "subtitle") or (covers_only and not _is_cover(stream)):
            continue
        try:
            copy = out.add_stream_from_template(stream)
        except (av.error.FFmpegError, ValueError) as error:
            if stream.type == "subtitle" or _is_cover(stream):
                continue  # not every container has every kind
            raise AudioWriteError(
                f"cannot copy the picture ({stream.codec_context.name}) into {out.format.name}: {error}",
                remedy="convert the video to MP4 or Matroska first",
            ) from error
        copy.disposition = stream.disposition
        copy.metadata.update(stream.metadata)
        copies[stream] = copy
    return copies


def _start(stream: Any) -> float:
    return float(stream.start_time * stream.time_base) if stream.start_time is not None and stream.time_base else 0.0


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _open(source: Source) -> Any:
    try:
        return av.open(source.open(), "r", options=LIBAV_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioReadError(
            "has no picture that can be read", subject=source.name, remedy="leave `video` out"
        ) from error
