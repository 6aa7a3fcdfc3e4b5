"""Augmentation by codecs: what MP3, AAC and Opus leave of a sound at low bit rates."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unbraid.data.augment.base import Occasional
from unbraid.errors import ConfigError
from unbraid.lazy import LazyModule
from unbraid.options import PositiveFloat, check_range
from unbraid.signal.lengths import fit_length

if TYPE_CHECKING:
    import av
    import soxr
else:
    av = LazyModule("av")
    soxr = LazyModule("soxr")

CodecName = Literal["mp3", "aac", "opus"]

_ENCODERS: dict[CodecName, tuple[str, dict[str, str]]] = {
    "mp3": ("libmp3lame", {"compression_level": "7"}),
    "aac": ("aac", {"aac_coder": "fast"}),
    "opus": ("libopus", {"compression_level": "3"}),
}
"""libav's names, and its options for speed."""

_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)

_OTHER_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Hz, those that both MP3 and AAC know."""


@dataclass(frozen=True, kw_only=True)
class Codec(Occasional):
    """Encoded and decoded in memory, in step with what went in. Mono and stereo only."""

    kind: Literal["codec"] = "codec"

    names: tuple[CodecName, ...] = ("mp3", "aac", "opus")

    range_kbps: tuple[PositiveFloat, PositiveFloat] = (32.0, 160.0)
    """Of the bit rate for all channels together, uniform in octaves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names:
            raise ConfigError("names holds at least one codec: mp3, aac or opus")
        check_range("range_kbps", self.range_kbps, 8.0)

    def apply(self, samples: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        name = self.names[int(generator.integers(len(self.names)))]
        kbps = float(np.exp(generator.uniform(*np.log(self.range_kbps))))
        return through_codec(samples, sample_rate, name, kbps) if samples.any() else samples


def through_codec(samples: np.ndarray, sample_rate: int, name: CodecName, kbps: float) -> np.ndarray:
    """(channel, sample) float32 after encoding and decoding: the same shape, and no delay."""
    if len(samples) > 2:
        raise ConfigError(
            f"codecs take mono and stereo, not {len(samples)} channels", remedy="leave the augmentation Codec out"
        )
    known = _OPUS_RATES if name == "opus" else _OTHER_RATES
    rate = sample_rate if sample_rate in known else 48_000
    # Encoders of integers clip at full scale; the sound passes below it and gets its level back.
    scale = max(1.0, 1.05 * float(np.abs(samples).max(initial=0)))
    decoded = _decode(_encode(_resample(samples / np.float32(scale), sample_rate, rate), rate, name, kbps))
    return fit_length(_resample(decoded, decoded_rate(name, rate), sample_rate), samples.shape[-1]) * np.float32(scale)


def decoded_rate(name: CodecName, rate: int) -> int:
    """Opus decodes to 48 kHz whatever went in."""
    return 48_000 if name == "opus" else rate


def _encode(samples: np.ndarray, rate: int, name: CodecName, kbps: float) -> io.BytesIO:
    encoder, options = _ENCODERS[name]
    layout = "stereo" if len(samples) == 2 else "mono"
    buffer = io.BytesIO()
    # Matroska says how much priming each codec needs, and libav drops just that when it decodes.
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=rate, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.bit_rate = layout, round(kbps * 1000)
        if name == "opus":
            stream.format = "flt"
            packed = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        else:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    return buffer


def _decode(buffer: io.BytesIO) -> np.ndarray:
    parts = []
    with av.open(buffer, "r", format="matroska") as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            parts.append(samples)
    return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


def _resample(samples: np.ndarray, rate: int, other: int) -> np.ndarray:
    if rate == other:
        return samples
    return soxr.resample(np.ascontiguousarray(samples.T), rate, other, quality="HQ").T
