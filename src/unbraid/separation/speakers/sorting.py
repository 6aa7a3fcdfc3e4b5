"""Puts the sources of every chunk into one order before chunks are joined.

Stems have their places already. Speakers come in any order: sorted over the whole recording, their estimates wait in a
temporary file until it has been heard; sorted online, each chunk is decided with what came before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import torch

from unbraid.axes import Float, Tensor
from unbraid.files.scratch import no_room
from unbraid.separation.speakers.online import OnlineTracker
from unbraid.separation.speakers.tracking import RecordingTracker
from unbraid.signal.chunking import Chunk

_MEMORY_BYTES = 2**25
"""Estimates wait in memory up to this size, which short recordings never exceed."""
_SURE = 0.9

Estimate = Float[Tensor, "source channel sample"]


@runtime_checkable
class Sorter(Protocol):
    """Takes chunks in time order and gives them out with their sources in place."""

    @property
    def uncertain_joins(self) -> int | None:
        """How often speakers may have changed places; None where none are tracked."""
        ...

    @property
    def heard_seconds(self) -> tuple[float, ...] | None:
        """For how long each speaker is heard above the others; None where none are tracked."""
        ...

    def push(self, chunk: Chunk, estimate: Estimate) -> Iterator[tuple[Chunk, Estimate]]: ...
    def finish(self) -> Iterator[tuple[Chunk, Estimate]]: ...


class KeepOrder:
    """Sources that have their places: chunks pass as they are."""

    uncertain_joins: int | None = None
    heard_seconds: tuple[float, ...] | None = None

    def push(self, chunk: Chunk, estimate: Tensor) -> Iterator[tuple[Chunk, Tensor]]:
        yield chunk, estimate

    def finish(self) -> Iterator[tuple[Chunk, Tensor]]:
        yield from ()


class SortOnline:
    """Speakers sorted chunk by chunk, with what has been heard so far."""

    def __init__(self, tracker: OnlineTracker) -> None:
        self.tracker, self.uncertain_joins = tracker, 0

    @property
    def heard_seconds(self) -> tuple[float, ...]:
        return self.tracker.heard_seconds

    def push(self, chunk: Chunk, estimate: Tensor) -> Iterator[tuple[Chunk, Tensor]]:
        ordered = estimate.clone()
        for channel in range(estimate.shape[1]):
            order, confidence = self.tracker.track(chunk.index, channel, chunk.start, estimate[:, channel])
            ordered[:, channel] = estimate[list(order), channel]
            self.uncertain_joins += confidence < _SURE
        yield chunk, ordered

    def finish(self) -> Iterator[tuple[Chunk, Tensor]]:
        yield from ()


class SortRecording:
    """Speakers sorted over the whole recording: estimates wait in a file until all chunks have been heard."""

    def __init__(self, tracker: RecordingTracker, scratch: Path | None) -> None:
        self.tracker, self.scratch = tracker, scratch
        self.uncertain_joins, self.heard_seconds = 0, (0.0,) * tracker.num_sources
        self._file: BinaryIO | None = None
        self._waiting: list[tuple[Chunk, tuple[int, ...]]] = []

    def push(self, chunk: Chunk, estimate: Tensor) -> Iterator[tuple[Chunk, Tensor]]:
        for channel in range(estimate.shape[1]):
            self.tracker.observe(chunk.index, channel, chunk.start, estimate[:, channel])
        if self._file is None:
            self._file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=self.scratch)  # type: ignore[assignment]  # noqa: SIM115
        assert self._file is not None
        try:
            self._file.write(np.ascontiguousarray(estimate.numpy()).reshape(-1).data)
        except OSError as error:
            raise no_room("estimates that wait until all speakers are known", error, self.scratch) from error
        # Only where the samples were is still needed. A slice of none of them would keep them all in memory.
        bare = Chunk(chunk.index, chunk.start, torch.empty(estimate.shape[1], 0), chunk.is_last)
        self._waiting.append((bare, tuple(estimate.shape)))
        yield from ()

    def finish(self) -> Iterator[tuple[Chunk, Tensor]]:
        if self._file is None:
            return
        assignment = self.tracker.solve()
        self.uncertain_joins, self.heard_seconds = assignment.uncertain_joins, assignment.heard_seconds
        with self._file as file:
            file.seek(0)
            for chunk, shape in self._waiting:
                data = np.empty(shape, np.float32)
                file.readinto(data.reshape(-1))  # type: ignore[attr-defined]
                estimate = torch.from_numpy(data)
                for channel in range(shape[1]):
                    order = assignment.orders[chunk.index, channel]
                    if order != tuple(range(shape[0])):
                        estimate[:, channel] = estimate[list(order), channel]
                yield chunk, estimate
