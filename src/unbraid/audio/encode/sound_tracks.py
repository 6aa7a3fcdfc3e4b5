"""Sound on its way into a file of several tracks: encoded as AAC, FLAC or ALAC, or the packets of a finished file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unbraid.audio.decode.containers import codec_name, open_container
from unbraid.audio.formats import Container, Encoding
from unbraid.audio.pcm import quantise
from unbraid.audio.rate import Resampler
from unbraid.audio.reading import AudioReader
from unbraid.audio.sources import Source
from unbraid.errors import AudioWriteError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.error
    import av.stream
else:
    av = LazyModule("av")

Codec = Literal["aac", "flac", "alac"]

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OTHER_RATE_HZ = 48_000
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_BITRATE_PER_CHANNEL = 128_000
"""ours: 256 kbit/s of stereo."""
_BLOCK_SECONDS = 0.5


_HELD_BY = {"aac": ("mp4", "mov", "mkv"), "flac": ("mp4", "mkv"), "alac": ("mp4", "mov", "mkv")}
_COPIED_INTO: dict[Container, tuple[str, ...]] = {
    "wav": ("mp4", "mov", "mkv"),
    "flac": ("mp4", "mkv"),
    "mp3": ("mp4", "mov", "mkv"),
    "ogg": ("mkv",),
}


def check_sound(codec: Codec | Literal["copy"], container: str, stem: Encoding, num_channels: int) -> None:
    """Raises AudioWriteError where a video of that container cannot have such a sound; `stem` is what it is made of."""
    held_by = _COPIED_INTO[stem.container] if codec == "copy" else _HELD_BY[codec]
    if container not in held_by:
        name = stem.container if codec == "copy" else codec
        raise AudioWriteError(
            f"cannot put {name.upper()} into {container.upper()}", remedy='pass `video_sound="alac"` or leave it out'
        )
    if codec != "copy":
        _check_layout(codec, num_channels)


def _check_layout(codec: Codec, num_channels: int) -> None:
    if num_channels not in _LAYOUTS:
        raise AudioWriteError(
            f"{codec.upper()} is written of 1, 2 or 6 channels and the recording has {num_channels}",
            remedy='pass `video_sound="copy"`, or leave `video` and `stem_file` out',
        )


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One sound track that is encoded; FLAC and ALAC keep 16 bits, and 24 of all that is deeper."""

    reader: AudioReader
    codec: Codec = "aac"
    gain: float = 1.0
    """What its samples are multiplied by; what is beyond full scale then is clamped."""
    title: str = ""
    language: str = ""
    is_default: bool = True


@dataclass(frozen=True, kw_only=True)
class CopiedSound:
    """One sound track whose packets are those of a file: nothing is decoded."""

    source: Source
    title: str = ""
    language: str = ""
    is_default: bool = True


class EncodedTrack:
    """One sound on its way into a file; `start` is where its first sample is, in seconds."""

    def __init__(self, out: Any, sound: Sound, start: float) -> None:
        info = sound.reader.info
        _check_layout(sound.codec, info.num_channels)
        is_free = sound.codec != "aac" or info.sample_rate in _AAC_RATES_HZ
        self._rate = info.sample_rate if is_free else _OTHER_RATE_HZ
        self._bits = None if sound.codec == "aac" else 16 if info.encoding.sample == "int16" else 24
        self._out, self._layout, self._gain = out, _LAYOUTS[info.num_channels], np.float32(sound.gain)
        self._stream = _in_container(out, sound.codec, rate=self._rate, layout=self._layout)
        if self._bits is None:
            self._stream.bit_rate = min(_BITRATE_PER_CHANNEL, 3 * self._rate) * info.num_channels
        else:
            kind = "s16" if self._bits == 16 else "s32"
            self._stream.codec_context.format = f"{kind}p" if sound.codec == "alac" else kind
        self._stream.time_base = Fraction(1, self._rate)
        _label(self._stream, sound)
        self._blocks = self._resampled(sound.reader)
        self._position = round(start * self._rate)
        self.is_done = False

    def write_until(self, seconds: float) -> None:
        """All samples before that moment, and a few more."""
        while not self.is_done and self._position < seconds * self._rate:
            block = next(self._blocks, None)
            if block is None:
                self._out.mux(self._stream.encode(None))
                self.is_done = True
            elif block.shape[1]:
                frame = self._frame(block * self._gain)
                frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
                self._position += block.shape[1]
                self._out.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Nothing is open."""

    def _frame(self, block: np.ndarray) -> Any:
        if self._bits is None:
            samples, kind = np.clip(block, -1, 1), "fltp"
        elif self._bits == 16:
            samples, kind = quantise(block, 16).astype(np.int16), "s16p"
        else:
            samples, kind = quantise(block, 24) << 8, "s32p"
        return av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), kind, self._layout)

    def _resampled(self, reader: AudioReader) -> Iterator[np.ndarray]:
        info = reader.info
        size = max(1, round(_BLOCK_SECONDS * info.sample_rate))
        if info.sample_rate == self._rate:
            yield from reader.blocks(size)
            return
        resampler = Resampler(info.sample_rate, self._rate, info.num_channels)
        for block in reader.blocks(size):
            yield resampler.push(block)
        yield resampler.finish()


class CopiedTrack:
    """The packets of a finished sound file, moved to where its first sample belongs, in seconds."""

    def __init__(self, out: Any, sound: CopiedSound, start: float) -> None:
        self._out, self.is_done = out, False
        self._container = open_container(sound.source.open())
        try:
            [source] = self._container.streams.audio
            self._copy = _in_container(out, source)
        except BaseException:
            self._container.close()
            raise
        _label(self._copy, sound)
        self._base = source.time_base or Fraction(1, source.rate)
        # Priming samples, which MP3 has, come before the start of the stream and before that moment.
        self._shift = round(start / self._base) - (source.start_time or 0)
        self._packets = self._container.demux(source)
        self._position = start

    def write_until(self, seconds: float) -> None:
        """All packets that begin before that moment, and one more."""
        while not self.is_done and self._position < seconds:
            packet = next(self._packets, None)
            if packet is None or not packet.size:
                self.is_done = True
                return
            if packet.pts is None:
                continue
            moved = packet.pts + self._shift
            packet.pts = packet.dts = moved
            self._position = float(moved * self._base)
            packet.stream = self._copy
            self._out.mux(packet)

    def close(self) -> None:
        self._container.close()


def _in_container(out: Any, what: Any, **settings: Any) -> Any:
    """The stream of a codec, or of what is copied, in a file; AudioWriteError where the file does not hold such."""
    try:
        if isinstance(what, str):
            return out.add_stream(what, **settings)
        return out.add_stream_from_template(what, opaque=True)
    except (av.error.FFmpegError, ValueError) as error:
        codec = what if isinstance(what, str) else codec_name(what)
        raise AudioWriteError(
            f"cannot put {codec} into {out.format.name.upper()}", remedy='choose another `video_sound`, such as "aac"'
        ) from error


def _label(stream: Any, sound: Sound | CopiedSound) -> None:
    if sound.title:
        stream.metadata["title"] = sound.title
    if sound.language:
        stream.metadata["language"] = sound.language
    stream.disposition = av.stream.Disposition.default if sound.is_default else av.stream.Disposition(0)
