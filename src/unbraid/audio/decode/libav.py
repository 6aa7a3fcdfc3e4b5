"""Decodes through libav what libsndfile does not: M4A, MP4 and other video, AAC, WMA, AC-3, and MP3."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from unbraid.audio.formats import TAG_NAMES, AudioInfo, Encoding, SampleFormat
from unbraid.audio.pcm import to_float32
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError

_CONTAINERS = (
    "aac,ac3,adts,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,gsm,loas,m4a,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mxf,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
"""What libav may take the bytes for: its playlist formats would open further files and addresses named inside."""

LIBAV_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
"""With which every file is opened."""

_TAG_ALIASES = {"track": "tracknumber", "year": "date"}


class LibavDecoder:
    """One pass over the first audio stream of a file, in blocks of any size.

    Priming samples that the container marks are dropped; gaps in the time stamps are not filled.
    """

    def __init__(self, source: Source, allow_truncated: bool) -> None:
        self._name = source.name
        self._allow_truncated = allow_truncated
        try:
            self._container: InputContainer = av.open(
                source.open(),
                "r",
                options=LIBAV_OPTIONS,
                metadata_errors="replace",
            )
        except (FFmpegError, OSError, ValueError) as error:
            raise _refusal(source) from error
        try:
            self._begin()
        except BaseException:
            self._container.close()
            raise

    def _begin(self) -> None:
        if not self._container.streams.audio:
            what = "a video without sound" if self._container.streams.video else "no audio stream"
            raise AudioReadError(f"holds {what}", subject=self._name, remedy="give a file that has an audio track")
        stream = self._container.streams.audio[0]
        self._count = 0
        self._frames = self._decode(stream)
        # Some codecs tell their true rate and channels only once decoded (AAC with spectral band replication).
        self._first = next(self._frames, None)
        if self._first is None:
            raise AudioReadError(
                "holds no samples", subject=self._name, remedy="check that it was recorded or downloaded completely"
            )
        rate = self._first.sample_rate
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if seconds is None and self._container.duration:
            seconds = self._container.duration / av.time_base
        self.info = AudioInfo(
            name=self._name,
            sample_rate=rate,
            num_channels=self._first.layout.nb_channels,
            num_samples=None,
            expected_samples=round(seconds * rate) if seconds else None,
            encoding=Encoding(sample=_depth(stream.codec_context, self._first.format.name)),
            tags=_tags({**self._container.metadata, **stream.metadata}),
        )

    def chunks(self) -> Iterator[np.ndarray]:
        """The samples from the start, as float32 (channel, sample) arrays."""
        frame, self._first = self._first, None
        while frame is not None:
            channels, rate = frame.layout.nb_channels, frame.sample_rate
            if (channels, rate) != (self.info.num_channels, self.info.sample_rate):
                raise AudioReadError(
                    f"changes to {channels} channels at {rate} Hz after {self._seconds():.1f} s",
                    subject=self._name,
                    remedy="convert it to WAV first",
                )
            try:
                samples = frame.to_ndarray()
            except ValueError as error:  # 64-bit integers
                raise AudioReadError(
                    f"stores its samples as {frame.format.name}, which is not read",
                    subject=self._name,
                    remedy="convert it first",
                ) from error
            if not frame.format.is_planar:
                samples = samples.reshape(-1, channels).T
            self._count += samples.shape[1]
            yield to_float32(samples)
            frame = next(self._frames, None)

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self, stream: av.AudioStream) -> Generator[av.AudioFrame]:
        try:
            for frame in self._container.decode(stream):
                if frame.samples:
                    yield frame
        except (FFmpegError, OSError, ValueError) as error:
            if self._allow_truncated:
                return
            raise AudioReadError(
                f"is damaged after {self._seconds():.1f} s",
                subject=self._name,
                remedy="get another copy, or pass `allow_truncated=True` to separate what comes before",
            ) from error

    def _seconds(self) -> float:
        return self._count / self.info.sample_rate if self._count else 0.0


def _depth(codec: av.AudioCodecContext, sample_format: str) -> SampleFormat:
    name = codec.name
    if name == "alac" and codec.extradata is not None and len(codec.extradata) > 17:
        # libav decodes every ALAC to 32 bits; the depth is in the codec's own header.
        return "int16" if codec.extradata[17] <= 16 else "int24"
    lossless = name.startswith("pcm_") or name in ("flac", "wavpack", "tta", "ape", "shorten", "tak", "truehd", "mlp")
    if not lossless:
        return "int24"
    if sample_format.startswith(("flt", "dbl")):
        return "float32"
    if sample_format.startswith("s32"):
        return "int32" if name.startswith("pcm_s32") else "int24"
    return "int16"


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    renamed = {_TAG_ALIASES.get(name.lower(), name.lower()): text for name, text in metadata.items()}
    return {name: text for name, text in renamed.items() if name in TAG_NAMES and text}


def _refusal(source: Source) -> AudioReadError:
    head = source.view().read(512)
    try:
        text = head.decode("utf-8", "ignore")
        is_text = len(text) > 0.9 * len(head) and all(letter.isprintable() or letter.isspace() for letter in text)
    except UnicodeDecodeError:
        is_text = False
    if is_text:
        what = "a web page" if "<html" in text.lower() or "<!doctype" in text.lower() else "text"
        return AudioReadError(
            f"holds {what}, not audio",
            subject=source.name,
            remedy="check that the download gave the recording itself",
        )
    return AudioReadError(
        "is not audio that can be read, or is damaged",
        subject=source.name,
        remedy="convert it to WAV, or get another copy",
    )
