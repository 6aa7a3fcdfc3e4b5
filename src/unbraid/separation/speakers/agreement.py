"""The orders of all pieces of a recording that agree best with each other and with steady voices.

Three kinds of evidence are added up in nats: neighbouring chunks overlap, channels of one chunk move together, and each
speaker sounds like themselves. The first two are known; the speakers are not, so orders and speakers are improved in
turns, as in clustering, from several starts, and the most plausible outcome wins. Nothing is drawn at random.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch

from unbraid.axes import Bool, Float, Int, Tensor
from unbraid.separation.speakers.ordering import (
    all_orders,
    best_chain,
    chain_marginals,
    composition,
    pair_scores,
    slot_scores,
)
from unbraid.separation.speakers.voice import SpeakerModels, VoiceStatistics, fit_speakers, log_likelihood

_MAX_ROUNDS = 20
_MAX_SEEDS = 6
# One odd piece must not outweigh the rest: the voices of a piece speak against an order with at most this (ours).
_VOICE_LIMIT_NATS = 40.0
# Joins below this are too weak to start from: a run of chunks ends there.
_RUN_JOIN_PROBABILITY = 0.999
# Where nothing else speaks, the order stays.
_STAY_NATS = 1e-3


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured of all pieces, by chunk and channel; zeros where a piece is missing."""

    voices: VoiceStatistics
    """Leading axes chunk, channel, source."""
    overlap: Float[Tensor, "chunk channel source source2"]
    """Match in nats of the estimates of the chunk before with those of this chunk."""
    across: Float[Tensor, "chunk channel channel2 source source2"]
    """Match in nats of the estimates of two channels of one chunk, both ways round."""
    audible: Bool[Tensor, "chunk channel source"]
    """Whether somebody is heard in the estimate; where the others go does not matter."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Rows of `all_orders`, and how sure they are."""

    rows: Int[Tensor, "chunk channel"]
    confidence: Float[Tensor, "chunk channel"]
    """Probability that all who are heard are in their slots, given the speakers and the orders around."""
    joins: Float[Tensor, " join"]
    """Probability that nobody changes slots from one chunk in which somebody is heard to the next such chunk."""


def find_agreement(evidence: Evidence) -> Agreement:
    """The most plausible order of each piece; which speaker comes first is arbitrary, but always the same."""
    if evidence.voices.count.shape[:2] == (1, 1):
        return agreement_of_one()
    return _Search(evidence).run()


def agreement_of_one() -> Agreement:
    """Of many short files, most are one piece, which has no other to agree with."""
    sure = torch.ones(1, 1, dtype=torch.float64)
    return Agreement(rows=torch.zeros(1, 1, dtype=torch.long), confidence=sure, joins=sure[0, 1:])


class _Search:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.chunks, self.channels, self.sources = evidence.voices.count.shape
        self.orders = all_orders(self.sources)
        self.after = composition(self.orders)
        stay = _STAY_NATS * torch.eye(len(self.orders), dtype=evidence.overlap.dtype)
        self.pair = [pair_scores(evidence.overlap[:, channel], self.orders) + stay for channel in range(self.channels)]

    def run(self) -> Agreement:
        silent = self.pair[0].new_zeros(self.chunks, self.channels, len(self.orders))
        linked = self._improve_rows(torch.zeros(self.chunks, self.channels, dtype=torch.long), silent)
        best_rows, best_score = linked, -float("inf")
        seen = set[tuple[int, ...]]()
        for start in [linked, *self._seeded_starts(linked, silent)]:
            rows, score = self._settle(start, seen)
            if score > best_score + 1e-6:
                best_rows, best_score = rows, score
        return self._judge(best_rows)

    def _settle(self, rows: Tensor, seen: set[tuple[int, ...]]) -> tuple[Tensor, float]:
        """Turns of fitting the speakers and choosing the orders, until nothing changes.

        What follows from orders that were `seen` from an earlier start is known already, and no better.
        """
        for _ in range(_MAX_ROUNDS):
            place = tuple(rows.flatten().tolist())
            if place in seen:
                return rows, -float("inf")
            seen.add(place)
            unary = self._voice_scores(self._speakers(rows))
            improved = self._improve_rows(rows, limit_voices(unary))
            if torch.equal(improved, rows):
                return rows, self._score(rows, unary)
            rows = improved
        return rows, self._score(rows, self._voice_scores(self._speakers(rows)))

    def _seeded_starts(self, linked: Tensor, silent: Tensor) -> list[Tensor]:
        """Orders that follow from the voices of one run of surely linked chunks each, the fullest runs first."""
        # Turning two neighbours alike leaves the step between them as it is.
        joins = self._joint_marginals(linked, silent)[1].diagonal(dim1=-2, dim2=-1).sum(-1)
        joins[0] = 1.0
        run = torch.cumsum(joins < _RUN_JOIN_PROBABILITY, dim=0)
        heard = self.evidence.voices.ordered(self.orders[linked])
        fullness = torch.zeros(int(run[-1]) + 1, dtype=joins.dtype)
        fullness.index_add_(0, run, heard.count.sum(1).amin(-1))
        starts = []
        for seed in fullness.argsort(descending=True, stable=True)[:_MAX_SEEDS].tolist():
            chosen = run == seed
            speakers = fit_speakers(heard.map(lambda values, chosen=chosen: values[chosen]).over((0,)))
            unary = self._voice_scores(speakers)
            starts.append(self._improve_rows(linked, limit_voices(unary)))
        return starts

    def _speakers(self, rows: Tensor) -> SpeakerModels:
        return fit_speakers(self.evidence.voices.ordered(self.orders[rows]).over((0,)))

    def _voice_scores(self, speakers: SpeakerModels) -> Float[Tensor, "chunk channel order"]:
        return slot_scores(log_likelihood(self.evidence.voices, speakers), self.orders)

    def _improve_rows(self, rows: Tensor, unary: Tensor) -> Tensor:
        """Best chain of each channel given the others, then of all channels together."""
        for _ in range(3):
            before = rows
            for channel in range(self.channels):
                scores = unary[:, channel] + self._across_scores(rows, channel)
                rows = rows.clone()
                rows[:, channel] = best_chain(scores, self.pair[channel])[0]
            if self.channels > 1:
                turns = best_chain(*self._joint_scores(rows, unary))[0]
                rows = self.after[rows, turns[:, None]]
            if self.channels == 1 or torch.equal(rows, before):
                break
        return rows

    def _across_scores(self, rows: Tensor, channel: int) -> Float[Tensor, "chunk order"]:
        scores = self.pair[0].new_zeros(self.chunks, len(self.orders))
        for other in range(self.channels):
            if other != channel:
                pair = pair_scores(self.evidence.across[:, channel, other], self.orders)
                scores = scores + pair.gather(-1, rows[:, other, None, None].expand(-1, len(self.orders), 1))[..., 0]
        return scores

    def _joint_scores(self, rows: Tensor, unary: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of a turn per chunk, by which the speakers of all its channels are renumbered alike."""
        turned = self.after[rows]
        together = unary.gather(-1, turned).sum(1)
        pair = torch.zeros_like(self.pair[0])
        chunk = torch.arange(1, self.chunks)[:, None, None]
        for channel in range(self.channels):
            before, now = turned[:-1, channel, :, None], turned[1:, channel, None, :]
            pair[1:] += self.pair[channel][chunk, before, now]
        return together, pair

    def _score(self, rows: Tensor, unary: Tensor) -> float:
        total = unary.gather(-1, rows[..., None]).sum()
        for channel in range(self.channels):
            total = (
                total + self.pair[channel][torch.arange(1, self.chunks), rows[:-1, channel], rows[1:, channel]].sum()
            )
            total = total + self._across_scores(rows, channel).gather(-1, rows[:, channel, None]).sum() / 2
        return float(total)

    def _joint_marginals(self, rows: Tensor, unary: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of each turn of a chunk (0: as it is), and of each pair of turns of the one before and this."""
        return chain_marginals(*self._joint_scores(rows, unary))

    def _judge(self, rows: Tensor) -> Agreement:
        unary = limit_voices(self._voice_scores(self._speakers(rows)))
        turns, steps = self._joint_marginals(rows, unary)
        by_slot = self.evidence.audible.gather(-1, self.orders[rows])
        heard = by_slot.any(1)
        slot_after = self.orders.argsort(-1)
        in_place = ((slot_after == torch.arange(self.sources)) | ~heard[:, None]).all(-1)
        confidence = (turns * in_place).sum(-1)[:, None].expand(-1, self.channels).clone()
        if self.channels > 1:
            for channel in range(self.channels):
                scores = unary[:, channel] + self._across_scores(rows, channel)
                single = chain_marginals(scores, self.pair[channel])[0]
                own = slot_after[rows[:, channel], None]
                fits = ((slot_after == own) | ~self.evidence.audible[:, channel, None]).all(-1)
                confidence[:, channel] = torch.minimum(confidence[:, channel], (single * fits).sum(-1))
        confidence = confidence.clamp(max=1.0).masked_fill(~self.evidence.audible.any(-1), 1.0)
        return Agreement(rows=rows, confidence=confidence, joins=self._judge_joins(turns, steps, heard))

    def _judge_joins(self, turns: Tensor, steps: Tensor, heard: Tensor) -> Tensor:
        """Two chunks fit together if those heard in both share slots, and those heard in one of them share none."""
        slot_after = self.orders.argsort(-1)
        same_slot = slot_after[:, None, :, None] == slot_after[None, :, None, :]
        as_found = same_slot == torch.eye(self.sources, dtype=torch.bool)
        where = heard.any(-1).nonzero()[:, 0].tolist()
        joins = []
        for before, after in pairwise(where):
            # Across a gap only the voices on both sides tie speakers to slots.
            both = steps[after] if after == before + 1 else turns[before][:, None] * turns[after][None, :]
            matters = heard[before][:, None] & heard[after][None, :]
            joins.append((both * (as_found | ~matters).all(-1).all(-1)).sum())
        return torch.stack(joins) if joins else turns.new_zeros(0)


def limit_voices(unary: Float[Tensor, "*piece order"]) -> Float[Tensor, "*piece order"]:
    """Scores relative to the best order, none worse than the limit."""
    return (unary - unary.amax(-1, keepdim=True)).clamp(min=-_VOICE_LIMIT_NATS)
