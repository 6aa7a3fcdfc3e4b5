"""The way in: whatever the user hands over as one kind of reader, and its samples at the model's rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from unbraid.audio.formats import AudioInfo, Encoding
from unbraid.audio.passage import Passage
from unbraid.audio.pcm import LARGEST_SAMPLE, is_sample
from unbraid.audio.pcm_stream import PcmFormat
from unbraid.audio.rate import Resampler
from unbraid.audio.reading import open_audio
from unbraid.audio.recording import Recording, as_samples
from unbraid.audio.sources import AudioSource
from unbraid.axes import Float, Tensor
from unbraid.errors import AudioReadError, ConfigError

_BLOCK_SECONDS = 1.0


@runtime_checkable
class Reader(Protocol):
    """One pass over a recording, and the way to another pass."""

    info: AudioInfo

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]: ...
    def reopen(self) -> Reader: ...
    def close(self) -> None: ...


Input = AudioSource | Recording | np.ndarray | list | Tensor | Reader
"""A path, "-" for standard input, bytes, a binary file object, a Recording, a reader of one's own, or an array, list
or tensor with a rate."""


class MemoryReader:
    """A recording that is in memory already."""

    def __init__(
        self, recording: Recording, *, replace_nonfinite: bool = False, passage: Passage | None = None
    ) -> None:
        """With `replace_nonfinite`, samples that are NaN or infinite become zero; without it they are refused."""
        if recording.num_samples == 0:
            raise AudioReadError("the recording holds no samples; there is nothing to separate")
        good = is_sample(recording.samples)
        if not good.all():
            if not replace_nonfinite:
                raise AudioReadError(
                    f"holds samples that are NaN, infinite, or beyond {LARGEST_SAMPLE:.0e}",
                    subject="the recording",
                    remedy="pass `replace_nonfinite=True` to replace them by zero",
                )
            mended = np.where(good, recording.samples, np.float32(0))
            recording = Recording(mended, recording.sample_rate)
        self.recording = recording
        self.info = AudioInfo(
            name="the recording",
            sample_rate=recording.sample_rate,
            num_channels=recording.num_channels,
            num_samples=recording.num_samples,
            expected_samples=recording.num_samples,
            encoding=Encoding(),
            tags={},
        )
        if passage is not None:
            self.info = passage.within(self.info)
            start = self.info.start_sample
            part = recording.samples[:, start : start + (self.info.num_samples or 0)]
            self.recording = Recording(part, recording.sample_rate)

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        for start in range(0, self.recording.num_samples, block_samples):
            yield self.recording.samples[:, start : start + block_samples]

    def reopen(self) -> MemoryReader:
        return MemoryReader(self.recording)

    def close(self) -> None:
        pass


def open_input(
    source: Input,
    sample_rate: int | None,
    *,
    allow_truncated: bool = False,
    replace_nonfinite: bool = False,
    track: str | None = None,
    passage: Passage | None = None,
    raw: PcmFormat | None = None,
) -> Reader:
    """Opens any input; `sample_rate` in Hz goes with arrays and tensors, and only with those."""
    if isinstance(source, Tensor):
        if source.layout is not torch.strided or source.is_quantized or source.is_meta:
            raise ConfigError("cannot take a tensor that is sparse, quantised or meta", remedy="give a dense one")
        source = source.detach().cpu().resolve_conj().resolve_neg()
        # numpy does not know bfloat16.
        source = (source.float() if source.is_floating_point() else source).numpy()
    if isinstance(source, np.ndarray | list):
        if sample_rate is None:
            raise ConfigError("samples need their rate: separate(samples, sample_rate=44100)")
        source = Recording(as_samples(source), sample_rate)
        sample_rate = None
    if sample_rate is not None:
        raise ConfigError("sample_rate goes with an array or a tensor; files carry their own")
    if isinstance(source, Recording):
        return MemoryReader(source, replace_nonfinite=replace_nonfinite, passage=passage)
    if not isinstance(source, (str, os.PathLike, bytes)) and isinstance(source, Reader):  # a look at every member
        if passage is not None:
            raise ConfigError("a passage is taken of files and of samples, not of a reader of one's own")
        return source
    return open_audio(
        source,
        allow_truncated=allow_truncated,
        replace_nonfinite=replace_nonfinite,
        track=track,
        passage=passage,
        raw=raw,
    )


class Intake:
    """One pass over a recording, block by block, for a model of another rate."""

    def __init__(self, reader: Reader, model_rate: int) -> None:
        self.reader, self.model_rate = reader, model_rate
        self.num_samples = 0
        """Read so far, per channel, at the recording's own rate."""

    def blocks(self) -> Iterator[Float[Tensor, "channel sample"]]:
        """The recording at the model's rate; raises AudioReadError at the end of one that holds nothing."""
        info = self.reader.info
        resampler = Resampler(info.sample_rate, self.model_rate, info.num_channels)
        for block in self.reader.blocks(_block_samples(self.reader)):
            self.num_samples += block.shape[-1]
            yield torch.from_numpy(np.ascontiguousarray(resampler.push(block)))
        if self.num_samples == 0:
            raise AudioReadError(f"{info.name} holds no samples; there is nothing to separate")
        yield torch.from_numpy(np.ascontiguousarray(resampler.finish()))


class Lookback:
    """The recording a second time, in pieces of whatever length is asked for."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._blocks = reader.blocks(_block_samples(reader))
        self._held = np.zeros((reader.info.num_channels, 0), dtype=np.float32)

    def read(self, num_samples: int) -> np.ndarray:
        parts = [self._held]
        have = self._held.shape[-1]
        while have < num_samples:
            parts.append(next(self._blocks))
            have += parts[-1].shape[-1]
        joined = np.concatenate(parts, axis=-1)
        self._held = joined[:, num_samples:]
        return joined[:, :num_samples]

    def close(self) -> None:
        self.reader.close()


def _block_samples(reader: Reader) -> int:
    return max(1, round(_BLOCK_SECONDS * reader.info.sample_rate))
