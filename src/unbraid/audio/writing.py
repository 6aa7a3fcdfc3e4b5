"""Writes one recording, block by block, so that its name never stands for half a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np

from unbraid.audio.encode.libsndfile import SoundfileSink
from unbraid.audio.encode.wav import WavSink
from unbraid.audio.formats import Cover, Encoding, check_rate
from unbraid.errors import AudioWriteError, ConfigError
from unbraid.files.pending import PendingFile, commit_all, writing_to
from unbraid.files.protocols import Writable


class AudioWriter:
    """Writes float32 (channel, sample) blocks; the file appears on `commit`, and never without it.

    path: a name, or a file of that name that is pending already.
    expected_samples: per channel; lets a short WAV keep the plain header, and must not be too small by much.
    channel_mask: as in `AudioInfo`; kept in WAV. Ogg and FLAC imply the speakers by the number of channels.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | PendingFile,
        sample_rate: int,
        num_channels: int,
        encoding: Encoding,
        expected_samples: int | None = None,
        tags: Mapping[str, str] | None = None,
        channel_mask: int | None = None,
        cover: Cover | None = None,
    ) -> None:
        check_target(sample_rate, num_channels, encoding)
        self.pending = path if isinstance(path, PendingFile) else PendingFile(path)
        self.peak = 0.0
        """The largest magnitude written so far; full scale is 1."""
        self.num_samples = 0
        """Per channel."""
        self._num_channels = num_channels
        try:
            with writing_to(self.pending.name):
                if encoding.container == "wav":
                    self._sink: WavSink | SoundfileSink = WavSink(
                        self.pending.file,
                        sample_rate,
                        num_channels,
                        encoding,
                        expected_samples=expected_samples,
                        tags=tags,
                        cover=cover,
                        channel_mask=channel_mask,
                    )
                else:
                    self._sink = SoundfileSink(
                        self.pending.file, sample_rate, num_channels, encoding, tags=tags, cover=cover
                    )
        except BaseException:
            self.pending.discard()
            raise

    def write(self, block: np.ndarray) -> None:
        """Append (channel, sample)."""
        self.peak = max(self.peak, checked_peak(block, self._num_channels, self.pending.name))
        with writing_to(self.pending.name):
            self._sink.write(block)
        self.num_samples += block.shape[1]

    def seal(self) -> None:
        """Complete the file under its temporary name; `commit` or `commit_all` then only renames it."""
        with writing_to(self.pending.name):
            self._sink.finish()
        self.pending.seal()

    def commit(self) -> None:
        """Complete the file and give it its name, in place of any file that has it."""
        self.seal()
        commit_all([self.pending])

    def discard(self) -> None:
        """Remove what was written; harmless after `commit`."""
        if isinstance(self._sink, SoundfileSink):
            self._sink.abandon()
        self.pending.discard()

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def write_audio(
    path: str | os.PathLike[str],
    samples: np.ndarray,
    sample_rate: int,
    encoding: Encoding,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a whole (channel, sample) array."""
    with AudioWriter(path, sample_rate, samples.shape[0], encoding, samples.shape[1], tags) as writer:
        writer.write(samples)
        writer.commit()


def write_stream(
    file: Writable, blocks: Iterable[np.ndarray], sample_rate: int, num_channels: int, encoding: Encoding
) -> float:
    """Write (channel, sample) blocks as WAV to a file object that need not be seekable; gives the peak.

    The header says that the length is unknown, as programs do that write to a pipe; flushes and does not close.
    """
    if encoding.container != "wav":
        raise AudioWriteError(
            f"cannot write {encoding.container.upper()} to standard output", remedy='pass `container="wav"`'
        )
    check_target(sample_rate, num_channels, encoding)
    name = "standard output"
    peak = 0.0
    with writing_to(name):
        sink = WavSink(file, sample_rate, num_channels, encoding, streamed=True)
    for block in blocks:
        peak = max(peak, checked_peak(block, num_channels, name))
        with writing_to(name):
            sink.write(block)
    with writing_to(name):
        sink.finish()
    return peak


def checked_peak(block: np.ndarray, num_channels: int, name: str) -> float:
    """The largest magnitude of a block, whose shape and values are checked on the way."""
    if block.ndim != 2 or block.shape[0] != num_channels:
        raise ConfigError(f"cannot write a block of shape {block.shape} to {name}: expected ({num_channels}, samples)")
    if block.size == 0:
        return 0.0
    peak = max(float(block.max()), -float(block.min()))
    if not np.isfinite(peak):
        raise AudioWriteError(
            f"cannot write {name}, its samples are not numbers (NaN or infinite)", remedy='try `device="cpu"`'
        )
    return peak


def check_target(sample_rate: int, num_channels: int, encoding: Encoding) -> None:
    """Raise AudioWriteError if such a recording cannot be written in that encoding."""
    if num_channels < 1:
        raise ConfigError(f"cannot write {num_channels} channels: there must be at least 1")
    check_rate(sample_rate, "the output", AudioWriteError)
    encoding.check(sample_rate, num_channels)
