"""A recording in memory: samples and their rate."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unbraid.audio.formats import Encoding, check_rate
from unbraid.audio.pcm import to_float32
from unbraid.audio.rate import resample
from unbraid.audio.reading import open_audio
from unbraid.audio.sources import AudioSource
from unbraid.audio.writing import write_audio, write_stream
from unbraid.errors import ConfigError

_MOST_CHANNELS = 64
_READ_SAMPLES = 1 << 18


@dataclass(frozen=True, eq=False)
class Recording:
    """Samples, float32 (channel, sample) with full scale 1, and their rate in Hz.

    Takes what `as_samples` takes.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        check_rate(self.sample_rate, "the recording", ConfigError)
        object.__setattr__(self, "samples", as_samples(self.samples))

    @classmethod
    def read(cls, source: AudioSource, *, allow_truncated: bool = False, replace_nonfinite: bool = False) -> Recording:
        """Read a whole recording: a path, "-" for standard input, bytes, or a binary file object."""
        with open_audio(source, allow_truncated=allow_truncated, replace_nonfinite=replace_nonfinite) as reader:
            blocks = list(reader.blocks(_READ_SAMPLES))
            empty = np.zeros((reader.info.num_channels, 0), np.float32)
            return cls(np.concatenate([empty, *blocks], axis=1), reader.info.sample_rate)

    def write(self, path: str | os.PathLike[str], encoding: Encoding | None = None) -> None:
        """Write to a file, by default as its extension says (WAV: float32; FLAC: 24 bits), or to "-" as float32 WAV.

        Integer and lossy formats clamp what exceeds full scale.
        """
        if os.fspath(path) == "-":
            chosen = encoding or Encoding()
            write_stream(sys.stdout.buffer, [self.samples], self.sample_rate, self.num_channels, chosen)
        else:
            write_audio(path, self.samples, self.sample_rate, encoding or Encoding.for_path(Path(path)))

    def resampled(self, sample_rate: int) -> Recording:
        """The same sound at another rate, in Hz."""
        return replace(self, samples=resample(self.samples, self.sample_rate, sample_rate), sample_rate=sample_rate)

    @property
    def num_channels(self) -> int:
        return self.samples.shape[0]

    @property
    def num_samples(self) -> int:
        """Per channel."""
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.samples, dtype=dtype, copy=copy) if copy else np.asarray(self.samples, dtype=dtype)

    def __repr__(self) -> str:
        return f"Recording({self.num_channels} channels, {self.num_samples} samples, {self.sample_rate} Hz)"


def as_samples(samples: object) -> np.ndarray:
    """Float32 (channel, sample) from anything numpy reads: (sample,) becomes one channel, integers are scaled.

    Raises ConfigError on what looks like (sample, channel).
    """
    try:
        array = np.asarray(samples)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"cannot take samples ({error}): give (channel, sample), every channel as long") from error
    # 64-bit integers are what numpy makes of a list of any integers, so that their full scale is not known.
    if array.dtype.kind not in "fiu" or array.dtype in (np.uint16, np.uint32, np.uint64, np.int64):
        raise ConfigError(f"cannot take samples of type {array.dtype}", remedy="give floats in [-1, 1], int16 or int32")
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2:
        raise ConfigError(
            f"cannot take samples of shape {array.shape}", remedy="give (channel, sample), or (sample,) for mono"
        )
    if array.shape[0] > _MOST_CHANNELS:
        raise ConfigError(
            f"samples of shape {array.shape} would have {array.shape[0]} channels",
            remedy="give (channel, sample), that is, transpose with samples.T",
        )
    if array.shape[0] == 0:
        raise ConfigError("samples without a channel", remedy="give (channel, sample)")
    return array if array.dtype == np.float32 else to_float32(array)
