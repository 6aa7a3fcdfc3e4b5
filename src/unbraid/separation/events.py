"""What a running separation tells: the caller draws, stores or ignores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbraid.audio.formats import AudioInfo, Cover
from unbraid.audio.sources import SourceFacts

_HARDLY_HEARD = 0.12
"""ours: of the time for which anybody is heard. From validation speakers; see `benchmarks.papers.unusual_input`."""
_JUDGED_SECONDS = 2.0
"""ours: recordings in which anybody is heard for less are too short to tell."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """The recording is open and will be separated."""

    name: str
    sample_rate: int
    """Hz; that of the recording, in which all stems come out."""
    num_channels: int
    expected_seconds: float | None
    """Length, where the header tells."""
    stems: tuple[str, ...]
    """Names along the first axis of every `Block`."""
    info: AudioInfo
    """All that is known before decoding: also the depth and the tags, which whoever writes files keeps."""
    cover: Cover | None = None
    """The picture that the recording carries."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Some more of the recording has been through the model."""

    stage: Literal["separate", "join"]
    """"separate" runs the model; "join" follows where speakers are sorted over the whole recording first."""
    done_seconds: float
    expected_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Block:
    """Finished samples of all stems. Blocks follow each other without gaps."""

    start_sample: int
    samples: np.ndarray
    """float32 (source, channel, sample) at the recording's rate."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """All blocks are out."""

    num_samples: int
    """Per channel; equal to the recording's."""
    uncertain_joins: int | None
    """How often the speakers may have changed places; None where no speakers were tracked."""
    heard_seconds: tuple[float, ...] | None
    """For how long each speaker is heard beyond doubt and above the others, to a quarter of a second; None where no
    speakers were tracked."""
    model_seconds: float
    """Wall time spent in the model."""
    source: SourceFacts | None = None
    """What was read; None of what is in memory."""

    @property
    def hardly_heard(self) -> tuple[int, ...]:
        """Speakers, by their place, who are heard so little that they may be mere leakage from the others."""
        heard = self.heard_seconds or ()
        if sum(heard) < _JUDGED_SECONDS:
            return ()
        return tuple(speaker for speaker, seconds in enumerate(heard) if seconds <= _HARDLY_HEARD * sum(heard))


Event = Started | Progress | Block | Finished
