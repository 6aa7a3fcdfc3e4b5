"""Whatever the user hands over, as one kind of stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from unbraid.audio.formats import AudioInfo, Encoding
from unbraid.audio.reading import open_audio
from unbraid.audio.recording import Recording, as_samples
from unbraid.audio.sources import AudioSource
from unbraid.axes import Tensor
from unbraid.errors import AudioReadError, ConfigError


@runtime_checkable
class Reader(Protocol):
    """One pass over a recording, and the way to another pass."""

    info: AudioInfo

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]: ...
    def reopen(self) -> Reader: ...
    def close(self) -> None: ...


Input = AudioSource | Recording | np.ndarray | Tensor | Reader
"""A path, "-" for standard input, bytes, a binary file object, a Recording, a reader of one's own, or an array or
tensor with a rate."""


class MemoryReader:
    """A recording that is in memory already."""

    def __init__(self, recording: Recording) -> None:
        if recording.num_samples == 0:
            raise AudioReadError("the recording holds no samples; there is nothing to separate")
        if not np.isfinite(recording.samples).all():
            raise AudioReadError("the recording holds samples that are NaN or infinite; replace them first")
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

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        for start in range(0, self.recording.num_samples, block_samples):
            yield self.recording.samples[:, start : start + block_samples]

    def reopen(self) -> MemoryReader:
        return MemoryReader(self.recording)

    def close(self) -> None:
        pass


def open_input(
    source: Input, sample_rate: int | None, *, allow_truncated: bool = False, mend_samples: bool = False
) -> Reader:
    """Opens any input; `sample_rate` in Hz goes with arrays and tensors, and only with those."""
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray | list):
        if sample_rate is None:
            raise ConfigError("samples need their rate: separate(samples, sample_rate=44100)")
        samples = as_samples(np.asarray(source))
        return MemoryReader(Recording(np.nan_to_num(samples) if mend_samples else samples, sample_rate))
    if sample_rate is not None:
        raise ConfigError("sample_rate goes with an array or a tensor; files carry their own")
    if isinstance(source, Recording):
        return MemoryReader(source)
    if isinstance(source, Reader):
        return source
    return open_audio(source, allow_truncated=allow_truncated, mend_samples=mend_samples)
