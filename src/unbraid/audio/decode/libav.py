"""Decodes through libav what libsndfile does not: M4A, MP4 and other video, AAC, WMA, AC-3, and MP3."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.decode.containers import open_container, read_metadata
from unbraid.audio.decode.tracks import choose_track, describe_tracks, late_seconds
from unbraid.audio.formats import TAG_NAMES, AudioInfo, Encoding, SampleFormat
from unbraid.audio.layout import mask_of
from unbraid.audio.pcm import to_float32
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.audio.plane
    import av.container
    import av.error
    import av.stream
else:
    av = LazyModule("av")

_UNTIMED_CONTAINERS = ("mp3", "aac", "ac3", "eac3", "dts", "mpc", "truehd", "mlp", "amr", "gsm")
_SLACK_SAMPLES = 4096
_SILENCE_SAMPLES = 65_536

_MOST_FAILURES = 100_000
"""ours: packets in a row that cannot be decoded; an hour of MP3 has 138,000."""

_KINDS = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
"""Samples in FFmpeg's words."""

_TAG_ALIASES = {"track": "tracknumber", "year": "date"}


def frame_samples(frame: av.AudioFrame) -> np.ndarray:
    """(channel, sample) of a frame, in its own type; KeyError for a type that is not read.

    PyAV counts the planes of a frame up to the first null pointer, and of 8 channels there is none: `frame.planes` and
    `to_ndarray` read beyond them and fail, or end the process.
    """
    channels, name = frame.layout.nb_channels, frame.format.name
    kind = _KINDS[name.removesuffix("p")]
    if frame.format.is_planar:
        planes = [av.audio.plane.AudioPlane(frame, index) for index in range(channels)]
        return np.stack([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in planes])
    plane = av.audio.plane.AudioPlane(frame, 0)
    return np.frombuffer(memoryview(plane), kind, frame.samples * channels).reshape(-1, channels).T


class LibavDecoder:
    """One pass over one audio stream of a file, in blocks of any size.

    Priming samples that the container marks are dropped. Damage is an error, or with `allow_truncated` a silence as
    long as what is lost; sound that starts after the picture has a silence in front.
    """

    def __init__(self, source: Source, allow_truncated: bool, track: str | None = None) -> None:
        self._name = source.name
        self._allow_truncated = allow_truncated
        try:
            self._container = open_container(source.open())
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _refusal(source) from error
        try:
            self._begin(track)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, wanted: str | None) -> None:
        stream = choose_track(self._container, wanted, self._name)
        attached = av.stream.Disposition.attached_pic
        self.has_cover = any(picture.disposition & attached for picture in self._container.streams.video)
        self._count = 0
        self._remarks: list[str] = []
        self._tell_tracks(stream, wanted)
        self._frames = self._decode(stream)
        self._gap = 0
        # Some codecs tell their true rate and channels only once decoded (AAC with spectral band replication).
        first = next(self._frames, None)
        if isinstance(first, int):
            self._gap, first = first, next(self._frames, None)
        if not isinstance(first, av.AudioFrame):
            raise AudioReadError(
                "holds no samples", subject=self._name, remedy="check that it was recorded or downloaded completely"
            )
        self._first = first
        rate = first.sample_rate
        if first.time is not None and (late := late_seconds(self._container, first.time)):
            self._gap += round(late * rate)
            self._remarks.append(f"starts its sound {late:.2f} s after its picture; stems begin with as much silence")
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if seconds is None and self._container.duration:
            seconds = self._container.duration / av.time_base
        self.info = AudioInfo(
            name=self._name,
            sample_rate=rate,
            num_channels=first.layout.nb_channels,
            num_samples=None,
            expected_samples=round(seconds * rate) + self._gap if seconds else None,
            encoding=Encoding(sample=_depth(stream.codec_context, first.format.name)),
            tags=_tags({**read_metadata(self._container), **read_metadata(stream)}),
            channel_mask=mask_of(channel.name for channel in first.layout.channels),
            remarks=self._remarks,
        )

    def _tell_tracks(self, stream: av.AudioStream, wanted: str | None) -> None:
        tracks = self._container.streams.audio
        if len(tracks) > 1 and wanted is None:
            number = next(place for place, track in enumerate(tracks, start=1) if track.index == stream.index)
            self._remarks.append(
                f"has {len(tracks)} sound tracks ({describe_tracks(self._container)}), and track {number} is "
                "separated; choose with `track`"
            )

    def skip(self, num_samples: int) -> int:
        """None: where a seek lands is not certain to the sample."""
        return 0

    def chunks(self) -> Iterator[np.ndarray]:
        """The samples from the start, as float32 (channel, sample) arrays."""
        yield from self._silence(self._gap)
        frame: av.AudioFrame | int | None = self._first
        while frame is not None:
            if isinstance(frame, int):
                self._remarks.append(
                    f"is damaged at {self._seconds():.1f} s; {frame / self.info.sample_rate:.2f} s there are silent"
                )
                yield from self._silence(frame)
            else:
                samples = self._samples(frame)
                self._count += samples.shape[1]
                yield samples
            frame = next(self._frames, None)

    def _silence(self, num_samples: int) -> Iterator[np.ndarray]:
        while num_samples > 0:
            size = min(num_samples, _SILENCE_SAMPLES)
            yield np.zeros((self.info.num_channels, size), np.float32)
            num_samples -= size
            self._count += size

    def _samples(self, frame: av.AudioFrame) -> np.ndarray:
        channels, rate = frame.layout.nb_channels, frame.sample_rate
        if (channels, rate) != (self.info.num_channels, self.info.sample_rate):
            raise AudioReadError(
                f"changes to {channels} channels at {rate} Hz after {self._seconds():.1f} s",
                subject=self._name,
                remedy="convert it to WAV first",
            )
        try:
            return to_float32(frame_samples(frame))
        except KeyError as error:  # 64-bit integers
            raise AudioReadError(
                f"stores its samples as {frame.format.name}, which is not read",
                subject=self._name,
                remedy="convert it first",
            ) from error

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self, stream: av.AudioStream) -> Generator[av.AudioFrame | int]:
        """Frames, and between them the number of samples that are lost there."""
        gaps = _Gaps(self._container, stream)
        packets = self._container.demux(stream)
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except (av.error.InvalidDataError, EOFError) as error:
                if not self._allow_truncated:
                    raise self._damaged() from error
                if packet is None or not gaps.lose(packet.size):
                    self._remarks.append(f"is damaged after {self._seconds():.1f} s, and ends there")
                    return
                continue
            except (av.error.FFmpegError, OSError, ValueError, NotImplementedError) as error:
                raise AudioReadError(
                    f"cannot be decoded by this version of FFmpeg ({error})",
                    subject=self._name,
                    remedy="convert it to WAV first",
                ) from error
            for frame in frames:
                if not frame.samples:
                    continue
                if lost := gaps.before(frame, packet.size):
                    if not self._allow_truncated:
                        raise self._damaged()
                    yield lost
                yield frame

    def _damaged(self) -> AudioReadError:
        return AudioReadError(
            f"is damaged after {self._seconds():.1f} s",
            subject=self._name,
            remedy="get another copy, or pass `allow_truncated=True` to separate it with what is lost left silent",
        )

    def _seconds(self) -> float:
        return self._count / self.info.sample_rate if self._count else 0.0


class _Gaps:
    """Finds how many samples are lost where packets cannot be decoded."""

    def __init__(self, container: av.container.InputContainer, stream: av.AudioStream) -> None:
        names = container.format.name.split(",")
        # Bare streams store no time, so that what is lost is counted in bytes.
        self._is_timed = not any(name in _UNTIMED_CONTAINERS for name in names)
        # FLAC numbers its samples; elsewhere the time stamps of sound that is whole may be off by a transform.
        self._slack = 0 if "flac" in names else _SLACK_SAMPLES if "ogg" in names else None
        self._base = stream.time_base
        self._next: float | None = None
        self._failures = 0
        self._lost_bytes = 0
        self._good_bytes, self._good_samples = 0, 0

    def lose(self, num_bytes: int) -> bool:
        """Count a packet that cannot be decoded; False where so many follow each other that there is no going on."""
        self._lost_bytes += num_bytes
        self._failures += 1
        return self._failures < _MOST_FAILURES

    def before(self, frame: av.AudioFrame, packet_bytes: int) -> int:
        """Samples that are lost between the frame before and this one, which came out of a packet of that size."""
        lost = 0
        start = None
        if self._is_timed and frame.pts is not None and self._base is not None:
            start = float(frame.pts * self._base) * frame.sample_rate
        if start is not None and self._next is not None:
            ahead = round(start - self._next)
            if self._failures or (self._slack is not None and ahead > self._slack):
                lost = max(0, ahead)
        elif self._failures and self._good_bytes:
            packets = self._lost_bytes * self._good_samples / self._good_bytes / frame.samples
            lost = round(packets) * frame.samples
        if lost or self._next is None or self._failures:
            self._next = start
        if self._next is not None:
            self._next += frame.samples
        self._failures = self._lost_bytes = 0
        self._good_bytes += packet_bytes
        self._good_samples += frame.samples
        return lost


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
