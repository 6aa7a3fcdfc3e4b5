"""A part of a recording by its time, of which alone the samples are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from unbraid.audio.formats import AudioInfo
from unbraid.errors import AudioReadError


@dataclass(frozen=True, kw_only=True)
class Passage:
    """From where, and how much."""

    start_seconds: float = 0.0

    duration_seconds: float | None = None
    """None: to the end."""

    from_middle: bool = False
    """The passage lies in the middle of the recording, where that says how long it is."""

    def within(self, info: AudioInfo) -> AudioInfo:
        """What is known of the passage; raises AudioReadError where the recording ends before."""
        rate, total = info.sample_rate, info.expected_samples
        length = None if self.duration_seconds is None else max(1, round(self.duration_seconds * rate))
        start = round(self.start_seconds * rate)
        if self.from_middle and total is not None and length is not None:
            start = max(0, (total - length) // 2)
        if info.num_samples is not None and start >= info.num_samples:
            raise self.too_late(info, info.num_samples)
        known = None if info.num_samples is None else info.num_samples - start
        expected = None if total is None else max(0, total - start)
        if length is not None:
            known = None if known is None else min(known, length)
            expected = length if expected is None else min(expected, length)
        return replace(info, num_samples=known, expected_samples=expected, start_sample=start)

    def cut(self, chunks: Iterator[np.ndarray], position: int, info: AudioInfo) -> Iterator[np.ndarray]:
        """What of chunks, the first of which begins at `position`, belongs to the passage of that info."""
        start = info.start_sample
        end = None if self.duration_seconds is None else start + max(1, round(self.duration_seconds * info.sample_rate))
        for chunk in chunks:
            first, last = max(start - position, 0), chunk.shape[1]
            if end is not None:
                last = min(last, end - position)
            if first < last:
                yield chunk[:, first:last]
            position += chunk.shape[1]
            if end is not None and position >= end:
                return
        if position <= start:
            raise self.too_late(info, position)

    def too_late(self, info: AudioInfo, num_samples: int) -> AudioReadError:
        return AudioReadError(
            f"is {num_samples / info.sample_rate:.1f} s long, and the passage begins at "
            f"{info.start_sample / info.sample_rate or self.start_seconds:.1f} s",
            subject=info.name,
            remedy="choose an earlier `start_seconds`",
        )
