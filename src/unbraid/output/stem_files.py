"""Writes the stems of one recording together: one gain for all of them, and all of them or none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from unbraid.audio.formats import Encoding
from unbraid.audio.pcm import largest_integer
from unbraid.audio.writing import AudioWriter, check_target, checked_peak
from unbraid.errors import ConfigError
from unbraid.files.pending import PendingFile, commit_all, writing_to
from unbraid.options import check_option
from unbraid.output.config import ClipMode

_LOSSY_PEAK = 0.989
"""ours: -0.1 dB, because a lossy codec does not keep the peak exactly."""

_ENCODE_SAMPLES = 1 << 18


class StemWriters:
    """Streams every stem to the disk and, on `commit`, makes all files appear together.

    Float WAV is written at once as it will be. For integer and lossy targets the stems wait as raw float32 in hidden
    files beside their final names, because one gain for all can only be chosen at the end.
    """

    def __init__(
        self,
        paths: Mapping[str, str | os.PathLike[str]],
        sample_rate: int,
        num_channels: int,
        encoding: Encoding,
        expected_samples: int | None = None,
        tags: Mapping[str, str] | None = None,
        channel_mask: int | None = None,
    ) -> None:
        if not paths:
            raise ConfigError("no stems to write: name at least one")
        if len({os.path.realpath(path) for path in paths.values()}) < len(paths):
            raise ConfigError("two stems have the same file name", remedy="put {stem} into `filename`")
        check_target(sample_rate, num_channels, encoding)
        self.gain = 1.0
        """What all stems were multiplied by, known after `encode`."""
        self.num_samples = 0
        """Per channel."""
        self.peaks = dict.fromkeys(paths, 0.0)
        """The largest magnitude of each stem, before the gain; full scale is 1."""
        self._paths = dict(paths)
        self._sample_rate = sample_rate
        self._num_channels = num_channels
        self._encoding = encoding
        self._expected_samples = expected_samples
        self._tags = tags
        self._channel_mask = channel_mask
        self._writers: dict[str, AudioWriter] = {}
        self._raw: dict[str, PendingFile] = {}
        self._encoded = False
        try:
            for stem, path in self._paths.items():
                if encoding.is_float:
                    self._writers[stem] = self._writer(stem)
                else:
                    self._raw[stem] = PendingFile(path, follow_link=False)
        except BaseException:
            self.discard()
            raise

    def write(self, stems: np.ndarray) -> None:
        """Append (source, channel, sample), the sources in the order of the paths."""
        if stems.ndim != 3 or stems.shape[0] != len(self._paths):
            raise ConfigError(
                f"cannot write stems of shape {stems.shape}: expected {len(self._paths)} of (channel, sample)"
            )
        for stem, block in zip(self._paths, stems, strict=True):
            name = f"'{stem}'"
            self.peaks[stem] = max(self.peaks[stem], checked_peak(block, self._num_channels, name))
            if self._encoding.is_float:
                self._writers[stem].write(block)
            else:
                raw = self._raw[stem]
                with writing_to(raw.name):
                    raw.file.write(block.T.astype(np.float32).tobytes())
        self.num_samples += stems.shape[2]

    def commit(self, clip_mode: ClipMode = "rescale", beside: Sequence[PendingFile] = ()) -> None:
        """Encode, unless that is done, and give all stems and the files `beside` them their names, or none of them."""
        self.encode(clip_mode)
        commit_all([*(writer.pending for writer in self._writers.values()), *beside])

    def encode(self, clip_mode: ClipMode = "rescale") -> None:
        """Everything but the names; `gain` is known then. Float targets keep every value, see `OutputConfig`."""
        check_option("clip_mode", clip_mode, ClipMode)
        if self._encoded:
            return
        self._encoded = True
        if not self._encoding.is_float:
            peak = max(self.peaks.values())
            if clip_mode == "rescale" and peak > 1.0:
                ceiling = _LOSSY_PEAK if self._encoding.is_lossy else largest_integer(self._encoding.bits)
                self.gain = ceiling / peak
            for stem in self._paths:
                self._encode(stem)
        for writer in self._writers.values():
            if self._encoding.is_float:
                writer.seal()

    def discard(self) -> None:
        """Remove what was written; harmless after `commit`."""
        for writer in self._writers.values():
            writer.discard()
        for raw in self._raw.values():
            raw.discard()

    def __enter__(self) -> StemWriters:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _writer(self, stem: str) -> AudioWriter:
        return AudioWriter(
            self._paths[stem],
            self._sample_rate,
            self._num_channels,
            self._encoding,
            expected_samples=self._expected_samples,
            tags=self._tags,
            follow_link=False,
            channel_mask=self._channel_mask,
        )

    def _encode(self, stem: str) -> None:
        raw = self._raw[stem]
        self._expected_samples = self.num_samples
        writer = self._writers[stem] = self._writer(stem)
        gain = np.float32(self.gain)
        for block in self._waiting(raw):
            writer.write(block * gain)
        writer.seal()
        raw.discard()  # at once, so that the disk holds one stem twice at most

    def _waiting(self, raw: PendingFile) -> Iterator[np.ndarray]:
        with writing_to(raw.name):
            raw.file.seek(0)
        frame_bytes = 4 * self._num_channels
        while True:
            with writing_to(raw.name):
                data = raw.file.read(_ENCODE_SAMPLES * frame_bytes)
            if not data:
                return
            yield np.frombuffer(data, np.float32).reshape(-1, self._num_channels).T
