"""Which speaker is which, decided chunk by chunk with what has been heard so far: for who cannot wait for the end."""

import torch

from unbraid.axes import Float, Tensor
from unbraid.separation.speakers.agreement import limit_voices
from unbraid.separation.speakers.ordering import all_orders, pair_scores, slot_scores
from unbraid.separation.speakers.pieces import BLOCK_SECONDS, Piece, PieceMeter
from unbraid.separation.speakers.voice import VoiceStatistics, fit_speakers, log_likelihood


class OnlineTracker:
    """Gives the order of each piece at once; the first piece numbers the speakers."""

    def __init__(self, num_sources: int, sample_rate: int, overlap_samples: int) -> None:
        self.num_sources = num_sources
        self._meter = PieceMeter(num_sources, sample_rate, overlap_samples)
        self._orders = all_orders(num_sources)
        self._decided: dict[int, tuple[int, int]] = {}
        """By channel, its latest chunk and the row of the order that was chosen for it."""
        self._voices: dict[int, VoiceStatistics] = {}
        """By channel, what has been heard in each slot."""
        self._entered = [set[int]() for _ in range(num_sources)]
        """By slot, the blocks of the recording in which its speaker is heard beyond doubt."""

    def track(
        self, chunk_index: int, channel_index: int, start_sample: int, estimate: Float[Tensor, "source sample"]
    ) -> tuple[tuple[int, ...], float]:
        """The order of a piece, and the probability that all who are heard keep a slot."""
        piece = self._meter.measure(chunk_index, channel_index, start_sample, estimate)
        return self._decide(piece, self._meter.levels()[channel_index], chunk_index, channel_index)

    @property
    def heard_seconds(self) -> tuple[float, ...]:
        """`Assignment.heard_seconds` of what has been tracked online so far."""
        return tuple(BLOCK_SECONDS * len(entries) for entries in self._entered)

    def _decide(
        self, piece: Piece, level: float, chunk_index: int, channel_index: int
    ) -> tuple[tuple[int, ...], float]:
        match, trust, matches = piece.weighed(level)
        voices = piece.voices.map(lambda values: trust * values.double())
        # Where nothing decides, the estimate that is heard first, and more of, goes to the first speaker.
        entries = piece.entries(level)
        earliest = entries.any(-1) * (entries.shape[-1] - entries.float().argmax(-1)) + 1e-3 * voices.count
        place = torch.arange(self.num_sources, 0, -1)
        scores = 1e-6 * (earliest[self._orders] * place).sum(-1)
        first = not self._voices
        if not first:
            scores = scores + limit_voices(slot_scores(self._fit_heard(channel_index, voices), self._orders))
        for other, (decided_chunk, row) in self._decided.items():
            if other == channel_index:
                scores = scores + pair_scores(match, self._orders)[row]
            elif decided_chunk == chunk_index and other in matches:
                scores = scores + pair_scores(matches[other], self._orders)[:, row]
        row = int(scores.argmax())
        self._decided[channel_index] = chunk_index, row
        known, new = self._voices.get(channel_index), voices.ordered(self._orders[row])
        self._voices[channel_index] = new if known is None else VoiceStatistics.stack([known, new]).over((0,))
        piece.note_entries(self._entered, level, self._orders[row])
        slot_after = self._orders.argsort(-1)
        in_place = ((slot_after == slot_after[row]) | ~piece.audible(level)).all(-1)
        # The first piece numbers the speakers, so its order is right by definition.
        confidence = 1.0 if first else min(float((scores.softmax(0) * in_place).sum()), 1.0)
        return tuple(self._orders[row].tolist()), confidence

    def _fit_heard(self, channel: int, voices: VoiceStatistics) -> Float[Tensor, "source speaker"]:
        """How well the voices fit the speakers as heard so far."""
        nothing = voices.map(torch.zeros_like)
        heard = [
            self._voices.get(channel, nothing),
            *(known for other, known in self._voices.items() if other != channel),
        ]
        return log_likelihood(
            VoiceStatistics.stack([voices] + [nothing] * (len(heard) - 1)), fit_speakers(VoiceStatistics.stack(heard))
        )[0]
