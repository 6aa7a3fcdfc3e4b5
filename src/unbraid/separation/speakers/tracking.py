"""Which speaker is which over a whole recording whose chunks come out of a model in any order.

`RecordingTracker` takes the pieces (one channel of one chunk each) as they come, keeps a few kilobytes of each, and in
the end gives one order per piece such that every speaker keeps one slot. Three kinds of evidence decide: the overlap
with the chunk before, the other channels of the chunk, and the voices (`voice`), which also bridge pauses; `agreement`
weighs them over the whole recording. `online` does so with what has been heard so far.
"""

from dataclasses import dataclass

import torch

from unbraid.axes import Float, Tensor
from unbraid.separation.speakers.agreement import Evidence, agreement_of_one, find_agreement
from unbraid.separation.speakers.ordering import all_orders
from unbraid.separation.speakers.pieces import BLOCK_SECONDS, Piece, PieceMeter
from unbraid.separation.speakers.voice import VoiceStatistics

_SURE = 0.9


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One order per piece: slot s of the output takes estimate order[s]."""

    orders: dict[tuple[int, int], tuple[int, ...]]
    """By (chunk index, channel index)."""
    confidence: dict[tuple[int, int], float]
    """Probability that all who are heard are in their slots, 0 to 1; 1 where nobody is heard."""
    uncertain_joins: int
    """How often the speakers may have changed places between one audible chunk and the next."""
    heard_seconds: tuple[float, ...]
    """By slot, for how long its speaker is heard beyond doubt and above the others."""


class RecordingTracker:
    """Finds one order per piece by which every speaker keeps one slot over the recording.

    Call `observe` for each piece in order of time (channels of a chunk in any order), then `solve`. Speaker 1 is the
    one who is heard first.
    """

    def __init__(self, num_sources: int, sample_rate: int, overlap_samples: int) -> None:
        self.num_sources = num_sources
        self._meter = PieceMeter(num_sources, sample_rate, overlap_samples)
        self._pieces: dict[tuple[int, int], Piece] = {}
        """By chunk and channel."""

    def observe(
        self, chunk_index: int, channel_index: int, start_sample: int, estimate: Float[Tensor, "source sample"]
    ) -> None:
        """Measures one piece; the estimate itself is kept only as far as the next chunk overlaps it."""
        piece = self._meter.measure(chunk_index, channel_index, start_sample, estimate)
        self._pieces[chunk_index, channel_index] = piece

    def solve(self) -> Assignment:
        """The orders of all pieces observed so far, each decided in the light of all others."""
        if not self._pieces:
            return Assignment(orders={}, confidence={}, uncertain_joins=0, heard_seconds=(0.0,) * self.num_sources)
        chunks = sorted({chunk for chunk, _ in self._pieces})
        channels = sorted({channel for _, channel in self._pieces})
        level = self._meter.levels()
        is_alone = len(self._pieces) == 1
        agreement = agreement_of_one() if is_alone else find_agreement(self._evidence(chunks, channels, level))
        orders = all_orders(self.num_sources)[agreement.rows]
        place = {
            (chunk, channel): (row, column)
            for row, chunk in enumerate(chunks)
            for column, channel in enumerate(channels)
            if (chunk, channel) in self._pieces
        }
        heard = [set[int]() for _ in range(self.num_sources)]
        for (chunk, channel), at in place.items():
            self._pieces[chunk, channel].note_entries(heard, level[channel], orders[at])
        numbering = _by_first_entry(heard)
        return Assignment(
            orders={piece: tuple(orders[place[piece]][numbering].tolist()) for piece in place},
            confidence={piece: float(agreement.confidence[place[piece]]) for piece in place},
            uncertain_joins=int((agreement.joins < _SURE).sum()),
            heard_seconds=tuple(BLOCK_SECONDS * len(heard[speaker]) for speaker in numbering),
        )

    def _evidence(self, chunks: list[int], channels: list[int], level: dict[int, float]) -> Evidence:
        shape = len(chunks), len(channels)
        some = next(iter(self._pieces.values())).voices
        parts = {
            name: torch.zeros(*shape, *getattr(some, name).shape, dtype=torch.float64)
            for name in ("count", "total", "scatter", "pitch")
        }
        rows = {chunk: row for row, chunk in enumerate(chunks)}
        columns = {channel: column for column, channel in enumerate(channels)}
        overlap = torch.zeros(*shape, self.num_sources, self.num_sources, dtype=torch.float64)
        audible = torch.zeros(*shape, self.num_sources, dtype=torch.bool)
        across = torch.zeros(*shape, shape[1], self.num_sources, self.num_sources, dtype=torch.float64)
        for (chunk, channel), piece in self._pieces.items():
            row, column = rows[chunk], columns[channel]
            match, trust, matches = piece.weighed(level[channel])
            for name, values in parts.items():
                values[row, column] = trust * getattr(piece.voices, name)
            overlap[row, column] = match
            audible[row, column] = piece.audible(level[channel])
            for other, values in matches.items():
                across[row, column, columns[other]] = values
                across[row, columns[other], column] = values.T
        return Evidence(voices=VoiceStatistics(**parts), overlap=overlap, across=across, audible=audible)


def _by_first_entry(heard: list[set[int]]) -> list[int]:
    """Speakers in the order in which they are first heard for half a second in all."""
    first = [sorted(blocks)[min(1, len(blocks) - 1)] if blocks else float("inf") for blocks in heard]
    return sorted(range(len(heard)), key=lambda speaker: (first[speaker], speaker))
