"""What a recording is on disk: its facts, and the encodings it can be written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import PurePath
from typing import Literal, get_args

from unbraid.audio.pcm import sample_bits
from unbraid.errors import AudioWriteError, ConfigError, UnbraidError

Container = Literal["wav", "flac", "mp3", "ogg"]
SampleFormat = Literal["int16", "int24", "int32", "float32", "float64"]

LOWEST_RATE_HZ = 1_000
HIGHEST_RATE_HZ = 384_000

TAG_NAMES = ("title", "artist", "album", "date", "genre", "tracknumber", "comment", "copyright", "license")

_SAMPLES: dict[Container, tuple[SampleFormat, ...]] = {
    "wav": ("float32", "int16", "int24", "int32", "float64"),
    "flac": ("int24", "int16"),
    "mp3": ("float32",),
    "ogg": ("float32",),
}
"""What each container holds; the first is its default. Lossy encoders are fed float32 and have no depth."""

_BY_EXTENSION: dict[str, Container] = {
    ".wav": "wav",
    ".wave": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".ogg": "ogg",
    ".oga": "ogg",
}

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MP3_BITRATES_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320)


LARGEST_COVER_BYTES = (1 << 24) - 1024
"""As many as a block of FLAC holds, with its description."""

_LOSSLESS = 'pass `container="wav"` or `container="flac"`'


def container_of(path: str | PurePath) -> Container | None:
    """The container that the extension of a name means."""
    return _BY_EXTENSION.get(PurePath(path).suffix.lower())


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How samples are stored: a container and, in it, a sample format or a bit rate."""

    container: Container = "wav"
    """The kind of file."""
    sample: SampleFormat | None = None
    """How one sample is stored; None takes the container's default (float32 in WAV, int24 in FLAC)."""
    bitrate_kbps: int = 320
    """MP3 only, constant; lowered to the highest that MP3 has at the sample rate (160 from 16 kHz, 64 below)."""

    def __post_init__(self) -> None:
        if self.container not in get_args(Container):
            raise ConfigError(
                f"no container '{self.container}'", remedy=f"choose one of {', '.join(get_args(Container))}"
            )
        allowed = _SAMPLES[self.container]
        if self.sample is None:
            object.__setattr__(self, "sample", allowed[0])
        elif self.sample not in allowed:
            raise ConfigError(
                f"does not hold {self.sample}",
                subject=f"{self.container}",
                remedy=f"choose one of {', '.join(allowed)}",
            )
        if self.bitrate_kbps not in _MP3_BITRATES_KBPS:
            choices = ", ".join(map(str, _MP3_BITRATES_KBPS))
            raise ConfigError(f"MP3 has no bit rate of {self.bitrate_kbps} kbit/s", remedy=f"choose one of {choices}")

    @classmethod
    def for_input(cls, info: AudioInfo) -> Encoding:
        """Keep the depth of the input in a WAV file; what came from a lossy codec is kept in 24 bits."""
        return info.encoding

    @classmethod
    def for_path(cls, path: str | PurePath) -> Encoding:
        """The default encoding of the container that the extension names."""
        container = container_of(path)
        if container is None:
            raise ConfigError(
                f"cannot tell a format from the name '{path}'", remedy="end it in .wav, .flac, .mp3 or .ogg"
            )
        return cls(container=container)

    def within(self, container: Container) -> Encoding:
        """The same depth in another container, or the nearest depth that it holds."""
        allowed = _SAMPLES[container]
        return replace(self, container=container, sample=self.sample if self.sample in allowed else None)

    @property
    def extension(self) -> str:
        return self.container

    @property
    def is_lossy(self) -> bool:
        return self.container in ("mp3", "ogg")

    @property
    def is_float(self) -> bool:
        """Whether values beyond full scale are kept as they are."""
        return not self.is_lossy and self.sample in ("float32", "float64")

    @property
    def bits(self) -> int:
        """Bits of one stored sample."""
        return sample_bits(self.sample or "float32")

    def check(self, sample_rate: int, num_channels: int) -> None:
        """Raise AudioWriteError, naming the alternative, if the container cannot hold such a recording."""
        name = self.container.upper()
        most_channels = {"wav": 1024, "flac": 8, "mp3": 2, "ogg": 255}[self.container]
        if num_channels > most_channels:
            raise AudioWriteError(
                f"{name} holds at most {most_channels} channels and the recording has {num_channels}",
                remedy='pass `container="wav"`',
            )
        if self.container == "mp3" and sample_rate not in _MP3_RATES_HZ:
            rates = ", ".join(map(str, _MP3_RATES_HZ))
            raise AudioWriteError(f"MP3 has no sample rate of {sample_rate} Hz (only {rates})", remedy=_LOSSLESS)
        # The Vorbis encoder crashes the whole process above this rate.
        if self.container == "ogg" and sample_rate > 200_000:
            raise AudioWriteError(f"OGG ends at 200000 Hz and the recording has {sample_rate} Hz", remedy=_LOSSLESS)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """A picture that stands for a recording, as the bytes of its own file."""

    kind: str
    """Its media type, such as image/jpeg."""
    data: bytes


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """The facts about a recording that are known before it is decoded."""

    name: str
    """How messages call it: the path, or 'standard input'."""
    sample_rate: int
    """Hz."""
    num_channels: int
    num_samples: int | None
    """Per channel; None where only decoding the whole would tell."""
    expected_samples: int | None
    """`num_samples` where that is known, else an estimate from the header (good for a progress bar), else None."""
    encoding: Encoding = field(default_factory=Encoding)
    """The encoding that keeps its depth."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Title, artist and so on, by the names in TAG_NAMES."""
    channel_mask: int | None = None
    """Which speakers the channels are for, as the bits of WAVE (dwChannelMask), 0 for none in particular; None where
    nothing tells."""
    start_sample: int = 0
    """Where in the recording the passage begins that is read, see `Passage`."""
    remarks: list[str] = field(default_factory=list)
    """What users should know of how the file is read, each a part of a sentence about it; grows while it is read."""


def decode_tag(data: bytes) -> str:
    """Text of a tag: newer programs write UTF-8, Windows programs what Windows speaks, and few formats name either."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def check_rate(sample_rate: object, name: str, error: type[UnbraidError]) -> None:
    """Raise `error` if the sample rate, in Hz, is outside the range that unbraid resamples."""
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, Real) or not float(sample_rate).is_integer():
        raise error(
            f"has a sample rate of {sample_rate!r}, which is no whole number of Hz",
            subject=name,
            remedy="give one such as 44100",
        )
    if not LOWEST_RATE_HZ <= float(sample_rate) <= HIGHEST_RATE_HZ:
        raise error(
            f"has a sample rate of {sample_rate} Hz, and unbraid takes {LOWEST_RATE_HZ:,} to {HIGHEST_RATE_HZ:,} Hz",
            subject=name,
            remedy="resample it first",
        )
