"""Writes the stems of one recording together: one gain for all of them, and all of them or none."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from unbraid.audio.formats import Cover, Encoding
from unbraid.audio.pcm import largest_integer
from unbraid.audio.writing import AudioWriter, check_target, checked_peak
from unbraid.errors import ConfigError
from unbraid.files.pending import PendingFile, commit_all
from unbraid.options import check_option
from unbraid.output.config import TRUE_PEAK_DB, ClipMode
from unbraid.output.levels import LevelMeter
from unbraid.output.waiting import WaitingSamples

LOSSY_PEAK = 0.989
"""ours: -0.1 dB, because a lossy codec does not keep the peak exactly."""

_MEMORY_BYTES = 1 << 23
"""Of the stems of a recording, which wait on the disk beyond it: a minute of two in mono at 16 kHz."""


class StemWriters:
    """Streams every stem to the disk and, on `commit`, makes all files appear together.

    Float WAV is written at once as it will be. For integer and lossy targets, and for a stem that gets a loudness, they
    wait as raw float32, in memory where they are short and else in hidden files beside their final names, because the
    gain can only be chosen at the end.
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
        cover: Cover | None = None,
        loudness_lufs: Mapping[str, float] | None = None,
    ) -> None:
        """`loudness_lufs`: by stem, the loudness that it gets; the others keep their levels to each other."""
        if not paths:
            raise ConfigError("no stems to write: name at least one")
        check_target(sample_rate, num_channels, encoding)
        self.gain = 1.0
        """What all stems but those of a given loudness were multiplied by, known after `encode`."""
        self.own_gains: dict[str, float] = {}
        """Of the stems of a given loudness."""
        self.held_back: dict[str, float] = {}
        """Stems that would have exceeded the true peak at their loudness, and by how much in dB they are softer."""
        self._meter = LevelMeter(len(paths), num_channels, sample_rate)
        self._loudness = dict(loudness_lufs or {})
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
        self._cover = cover
        self._pending: dict[str, PendingFile] = {}
        self._writers: dict[str, AudioWriter] = {}
        self._waiting: dict[str, WaitingSamples] = {}
        self._encoded = False
        try:
            for stem, path in self._paths.items():
                self._pending[stem] = PendingFile(path, follow_link=False)
            if len({pending.path for pending in self._pending.values()}) < len(paths):
                raise ConfigError("two stems have the same file name", remedy="put {stem} into `filename`")
            for stem, path in self._paths.items():
                if self._is_direct(stem):
                    self._writers[stem] = self._writer(stem)
                else:
                    self._waiting[stem] = WaitingSamples(path, num_channels, _MEMORY_BYTES // len(paths))
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
            if self._is_direct(stem):
                self._writers[stem].write(block)
            else:
                self._waiting[stem].append(block)
        self._meter.push(torch.from_numpy(stems))
        self.num_samples += stems.shape[2]

    def commit(self, clip_mode: ClipMode = "rescale", beside: Sequence[PendingFile] = ()) -> None:
        """Encode, unless that is done, and give all stems and the files `beside` them their names, or none of them."""
        self.encode(clip_mode)
        commit_all([*self._pending.values(), *beside])

    def encode(self, clip_mode: ClipMode = "rescale") -> None:
        """Everything but the names; `gain` is known then. Float targets keep every value, see `OutputConfig`."""
        check_option("clip_mode", clip_mode, ClipMode)
        if self._encoded:
            return
        self._encoded = True
        if self._loudness:
            levels = dict(zip(self._paths, zip(self._meter.lufs(), self._meter.true_peaks(), strict=True), strict=True))
            for stem, target in self._loudness.items():
                self._set_loudness(stem, target, *levels[stem])
        if not self._encoding.is_float:
            peak = max((peak for stem, peak in self.peaks.items() if stem not in self._loudness), default=0.0)
            if clip_mode == "rescale" and peak > 1.0:
                ceiling = LOSSY_PEAK if self._encoding.is_lossy else largest_integer(self._encoding.bits)
                self.gain = ceiling / peak
        for stem in self._paths:
            if self._is_direct(stem):
                self._writers[stem].seal()
            else:
                self._encode(stem)

    def partial(self, stem: str) -> Path:
        """The file of a stem before it has its name; whole after `encode`."""
        return self._pending[stem].partial

    def gain_of(self, stem: str) -> float:
        return self.own_gains.get(stem, self.gain)

    def levels(self) -> dict[str, dict[str, float | None]]:
        """Loudness and true peak of each stem as it is written, for a record."""
        return dict(zip(self._paths, self._meter.facts([self.gain_of(stem) for stem in self._paths]), strict=True))

    def _is_direct(self, stem: str) -> bool:
        """Whether a stem is written at once as it will be."""
        return self._encoding.is_float and stem not in self._loudness

    def _set_loudness(self, stem: str, target: float, measured: float, true_peak: float) -> None:
        if not math.isfinite(measured):
            self.own_gains[stem] = 1.0
            return
        wanted_db = target - measured
        allowed_db = TRUE_PEAK_DB - 20 * math.log10(true_peak)
        self.own_gains[stem] = 10 ** (min(wanted_db, allowed_db) / 20)
        if wanted_db > allowed_db:
            self.held_back[stem] = wanted_db - allowed_db

    def discard(self) -> None:
        """Remove what was written; harmless after `commit`."""
        for part in (*self._writers.values(), *self._waiting.values(), *self._pending.values()):
            part.discard()

    def __enter__(self) -> StemWriters:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _writer(self, stem: str) -> AudioWriter:
        return AudioWriter(
            self._pending[stem],
            self._sample_rate,
            self._num_channels,
            self._encoding,
            expected_samples=self._expected_samples,
            tags=self._tags,
            channel_mask=self._channel_mask,
            cover=self._cover,
        )

    def _encode(self, stem: str) -> None:
        waiting, gain = self._waiting[stem], np.float32(self.gain_of(stem))
        self._expected_samples = self.num_samples
        writer = self._writers[stem] = self._writer(stem)
        for block in waiting.blocks():
            writer.write(block if gain == 1 else block * gain)
        writer.seal()
        waiting.discard()  # at once, so that the disk holds one stem twice at most
