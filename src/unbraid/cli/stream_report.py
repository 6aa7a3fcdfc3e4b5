"""What `unbraid stream` says on stderr: how late its output is, and what went wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unbraid.separation.session import LiveSeparator

_MOST_KEPT = 100_000
"""Times of the last half hour in blocks of 20 ms; a stream may last for days."""


@dataclass(kw_only=True)
class StreamReport:
    """Counts and times of one stream."""

    seconds_heard: float = 0.0
    seconds_computed: float = 0.0
    num_blocks: int = 0
    late_blocks: int = 0
    """Blocks whose estimates took longer than the block lasts, as which a buffer runs dry."""
    underruns: int = 0
    """How often the output device wanted samples that were not there."""
    dropped_blocks: int = 0
    """Blocks that the input device gave and nobody had time for."""
    skips: int = 0
    """How often more had piled up for the output device than was ever to be caught up with."""
    stalls: int = 0
    times_ms: list[float] = field(default_factory=list)

    def count(self, block_seconds: float, took_seconds: float) -> None:
        self.num_blocks += 1
        self.seconds_heard += block_seconds
        self.seconds_computed += took_seconds
        self.late_blocks += took_seconds > block_seconds
        self.times_ms.append(1000 * took_seconds)
        if len(self.times_ms) > _MOST_KEPT:
            del self.times_ms[: _MOST_KEPT // 2]

    def lines(self, separator: LiveSeparator) -> list[str]:
        """The report at the end, a sentence each."""
        if not self.num_blocks:
            return ["nothing was heard"]
        half, most, nearly_all, longest = np.percentile(self.times_ms, (50, 95, 99, 100))
        lines = [
            f"{self.seconds_heard:.1f} s in {self.num_blocks} blocks; a block took {half:.1f} ms (median), "
            f"{most:.1f} ms (95 %), {nearly_all:.1f} ms (99 %), {longest:.1f} ms (the longest); "
            f"real-time factor {self.seconds_computed / self.seconds_heard:.2f}"
        ]
        counted = (
            ("blocks that took longer than they last, at which live output runs dry", self.late_blocks),
            ("times at which the output device ran dry and played silence", self.underruns),
            ("blocks of the input device that were lost, as the computer was too slow", self.dropped_blocks),
            ("times at which the output device lagged a second behind and sound was skipped", self.skips),
            ("times at which nothing arrived for longer than --stall", self.stalls),
            ("samples that were NaN, infinite or absurdly large, taken as silence", separator.replaced_samples),
        )
        return lines + [f"warning: {what}: {count}" for what, count in counted if count]


def latency_line(separator: LiveSeparator, block_ms: float) -> str:
    """What can be known before the first sample."""
    resampled = "" if separator.sample_rate == separator.spec.sample_rate else " and for its rate"
    return (
        f"latency {separator.latency_samples} samples ({separator.latency_ms:.1f} ms) at {separator.sample_rate} Hz by "
        f"the model{resampled}, and up to a block ({block_ms:g} ms) and the time that it takes"
    )
