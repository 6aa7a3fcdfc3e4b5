"""Which speaker is which over a whole recording whose chunks come out of a model in any order.

A piece is one channel of one chunk. `SpeakerTracker` takes the pieces as they come, keeps a few kilobytes of each, and
in the end gives one order per piece such that every speaker keeps one slot. Three kinds of evidence decide: the overlap
with the chunk before (`SpeakerTracker`), the other channels of the chunk, and the voices (`voice`), which also bridge
pauses; `agreement` weighs them over the whole recording, `SpeakerTracker.track_online` over what has been heard so far.
"""

from dataclasses import dataclass

import torch
from einops import rearrange

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.separation.speakers.agreement import Evidence, find_agreement, limit_voices
from unbraid.separation.speakers.ordering import align, all_orders, pair_scores, slot_scores
from unbraid.separation.speakers.voice import VoiceMeter, VoiceStatistics, fit_speakers, log_likelihood

__all__ = ["Assignment", "SpeakerTracker", "align"]

_MAX_SPEAKERS = 4
_BLOCK_SECONDS = 0.25
# A perfect match of two overlaps, or of two channels, against none: odds of e to these (ours).
_OVERLAP_NATS = 30.0
_ACROSS_NATS = 20.0
# Relative to the mean power of a channel: what lies this far below tells noise from noise, not speaker from speaker.
_FAINT = 10**-3.2
_AUDIBLE = 10**-2.0
# What makes a speaker's entry: not a murmur, and clearly more than what the other estimates hold.
_SUBSTANTIAL = 10**-1.5
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


@dataclass(kw_only=True)
class _Piece:
    """What is kept of a piece; about 3 kB for two speakers."""

    start_sample: int
    voices: VoiceStatistics
    blocks: Float[Tensor, "source block"]
    match: Float[Tensor, "source source2"]
    overlap_power: float
    across: dict[int, Float[Tensor, "source source2"]]


class SpeakerTracker:
    """Finds one order per piece by which every speaker keeps one slot over the recording.

    Call `observe` for each piece in order of time (channels of a chunk in any order), then `solve`; or `track_online`
    instead of `observe` where each order is needed at once. Speaker 1 is the one who is heard first.
    """

    def __init__(self, num_sources: int, sample_rate: int, overlap_samples: int) -> None:
        if not 2 <= num_sources <= _MAX_SPEAKERS:
            raise ConfigError(f"Speakers are tracked for models with 2 to {_MAX_SPEAKERS} outputs, not {num_sources}.")
        if sample_rate < 4000:
            raise ConfigError(f"Voices need a sample rate of at least 4000 Hz to be told apart, not {sample_rate}.")
        self.num_sources = num_sources
        self.sample_rate = sample_rate
        self.overlap_samples = overlap_samples
        self._meter = VoiceMeter(sample_rate)
        self._orders = all_orders(num_sources)
        self._pieces: dict[tuple[int, int], _Piece] = {}
        self._tails: dict[int, tuple[int, Tensor]] = {}
        self._envelopes: dict[int, Tensor] = {}
        self._latest_chunk = -1
        self._powers: dict[int, tuple[float, int]] = {}
        self._decided: dict[int, tuple[int, int]] = {}
        self._heard: dict[int, VoiceStatistics] = {}
        self._entered = [set[int]() for _ in range(num_sources)]

    def observe(
        self, chunk_index: int, channel_index: int, start_sample: int, estimate: Float[Tensor, "source sample"]
    ) -> None:
        """Measures one piece; the estimate itself is kept only as far as the next chunk overlaps it."""
        if estimate.shape[0] != self.num_sources:
            raise ConfigError(f"The tracker follows {self.num_sources} speakers but got {estimate.shape[0]} estimates.")
        if chunk_index < self._latest_chunk or (chunk_index, channel_index) in self._pieces:
            raise ConfigError(
                f"Chunk {chunk_index}, channel {channel_index} comes twice or late: keep to the order of time."
            )
        if chunk_index > self._latest_chunk:
            self._envelopes.clear()
            self._latest_chunk = chunk_index
        estimate = estimate.detach().to("cpu", torch.float32)
        power = self._meter.power(estimate)
        loudness = self._meter.loudness(power)
        blocks = self._blocks(loudness)
        match, overlap_power = self._match_overlap(channel_index, start_sample, estimate)
        total, count = self._powers.get(channel_index, (0.0, 0))
        self._powers[channel_index] = total + float(blocks.amax(0).sum()), count + blocks.shape[1]
        self._pieces[chunk_index, channel_index] = _Piece(
            start_sample=start_sample,
            voices=self._meter.measure(power),
            blocks=blocks,
            match=match,
            overlap_power=overlap_power,
            across=self._match_channels(channel_index, loudness),
        )

    def solve(self) -> Assignment:
        """The orders of all pieces observed so far, each decided in the light of all others."""
        if not self._pieces:
            return Assignment(orders={}, confidence={}, uncertain_joins=0, heard_seconds=(0.0,) * self.num_sources)
        chunks = sorted({chunk for chunk, _ in self._pieces})
        channels = sorted({channel for _, channel in self._pieces})
        level = self._levels()
        agreement = find_agreement(self._evidence(chunks, channels, level))
        orders = self._orders[agreement.rows]
        place = {
            (chunk, channel): (row, column)
            for row, chunk in enumerate(chunks)
            for column, channel in enumerate(channels)
            if (chunk, channel) in self._pieces
        }
        heard = [set[int]() for _ in range(self.num_sources)]
        for (chunk, channel), at in place.items():
            self._note_entries(heard, self._pieces[chunk, channel], level[channel], orders[at])
        numbering = _by_first_entry(heard)
        return Assignment(
            orders={piece: tuple(orders[place[piece]][numbering].tolist()) for piece in place},
            confidence={piece: float(agreement.confidence[place[piece]]) for piece in place},
            uncertain_joins=int((agreement.joins < _SURE).sum()),
            heard_seconds=tuple(_BLOCK_SECONDS * len(heard[speaker]) for speaker in numbering),
        )

    def track_online(
        self, chunk_index: int, channel_index: int, start_sample: int, estimate: Float[Tensor, "source sample"]
    ) -> tuple[tuple[int, ...], float]:
        """Observes a piece and decides its order at once, with the probability that all who are heard keep a slot."""
        self.observe(chunk_index, channel_index, start_sample, estimate)
        return self._decide(chunk_index, channel_index)

    @property
    def heard_seconds(self) -> tuple[float, ...]:
        """`Assignment.heard_seconds` of what has been tracked online so far."""
        return tuple(_BLOCK_SECONDS * len(entries) for entries in self._entered)

    def _decide(self, chunk_index: int, channel_index: int) -> tuple[tuple[int, ...], float]:
        piece, level = self._pieces[chunk_index, channel_index], self._levels()[channel_index]
        match, trust, matches = self._weighed(piece, level)
        voices = piece.voices.map(lambda values: trust * values.double())
        # Where nothing decides, the estimate that is heard first, and more of, goes to the first speaker.
        entries = self._entries(piece, level)
        earliest = entries.any(-1) * (entries.shape[-1] - entries.float().argmax(-1)) + 1e-3 * voices.count
        place = torch.arange(self.num_sources, 0, -1)
        scores = 1e-6 * (earliest[self._orders] * place).sum(-1)
        first = not self._heard
        if not first:
            scores = scores + limit_voices(slot_scores(self._fit_heard(channel_index, voices), self._orders))
        for other, (decided_chunk, row) in self._decided.items():
            if other == channel_index:
                scores = scores + pair_scores(match, self._orders)[row]
            elif decided_chunk == chunk_index and other in matches:
                scores = scores + pair_scores(matches[other], self._orders)[:, row]
        row = int(scores.argmax())
        self._decided[channel_index] = chunk_index, row
        known, new = self._heard.get(channel_index), voices.ordered(self._orders[row])
        self._heard[channel_index] = new if known is None else _stack([known, new]).over((0,))
        self._note_entries(self._entered, piece, level, self._orders[row])
        slot_after = self._orders.argsort(-1)
        in_place = ((slot_after == slot_after[row]) | ~self._audible(piece, level)).all(-1)
        # The first piece numbers the speakers, so its order is right by definition.
        confidence = 1.0 if first else min(float((scores.softmax(0) * in_place).sum()), 1.0)
        return tuple(self._orders[row].tolist()), confidence

    def _fit_heard(self, channel: int, voices: VoiceStatistics) -> Float[Tensor, "source speaker"]:
        """How well the voices fit the speakers as heard so far."""
        nothing = voices.map(torch.zeros_like)
        heard = [
            self._heard.get(channel, nothing),
            *(known for other, known in self._heard.items() if other != channel),
        ]
        return log_likelihood(_stack([voices] + [nothing] * (len(heard) - 1)), fit_speakers(_stack(heard)))[0]

    def _match_overlap(self, channel: int, start: int, estimate: Tensor) -> tuple[Tensor, float]:
        """Inner products of estimates where this piece overlaps the one before, 1 in sum at best, and its power."""
        previous_start, tail = self._tails.get(channel, (start, estimate[:, :0]))
        keep = min(self.overlap_samples, estimate.shape[1])
        tail_start = start + estimate.shape[1] - keep
        self._tails[channel] = tail_start, estimate[:, estimate.shape[1] - keep :].clone()
        begin, end = max(start, previous_start), min(start + estimate.shape[1], previous_start + tail.shape[1])
        if end <= begin:
            return torch.zeros(self.num_sources, self.num_sources), 0.0
        before = tail[:, begin - previous_start : end - previous_start]
        now = estimate[:, begin - start : end - start]
        scale = float(before.norm() * now.norm())
        return before @ now.T / max(scale, 1e-20), scale / (end - begin)

    def _match_channels(self, channel: int, loudness: Tensor) -> dict[int, Tensor]:
        """Correlations of the loudness contours with those of the chunk's other channels, whatever their delay."""
        contour = loudness.sqrt()
        contour = contour - contour.mean(-1, keepdim=True)
        contour = contour / contour.norm().clamp(min=1e-20)
        matches = {
            other: contour @ theirs.T for other, theirs in self._envelopes.items() if theirs.shape == contour.shape
        }
        self._envelopes[channel] = contour
        return matches

    def _blocks(self, loudness: Tensor) -> Tensor:
        """Mean power in blocks of a quarter of a second."""
        frames = max(round(_BLOCK_SECONDS * self.sample_rate / self._meter.hop), 1)
        whole = torch.nn.functional.pad(loudness, (0, -loudness.shape[1] % frames))
        return rearrange(whole, "source (block frame) -> source block frame", frame=frames).mean(-1)

    def _levels(self) -> dict[int, float]:
        """Mean power of the loudest estimate in each channel; at least -50 dB of the loudest channel."""
        level = {channel: total / count for channel, (total, count) in self._powers.items()}
        floor = max(1e-5 * max(level.values()), 1e-20)
        return {channel: max(value, floor) for channel, value in level.items()}

    def _audible(self, piece: _Piece, level: float) -> Tensor:
        """Estimates in which somebody is heard now and then, not just noise or a trace of another."""
        return ((piece.blocks > _AUDIBLE * level) & (2 * piece.blocks > piece.blocks.amax(0))).any(-1)

    def _entries(self, piece: _Piece, level: float) -> Tensor:
        """Blocks in which each source is heard beyond doubt."""
        return (piece.blocks > _SUBSTANTIAL * level) & (3 * piece.blocks > 2 * piece.blocks.sum(0))

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
            match, trust, matches = self._weighed(piece, level[channel])
            for name, values in parts.items():
                values[row, column] = trust * getattr(piece.voices, name)
            overlap[row, column] = match
            audible[row, column] = self._audible(piece, level[channel])
            for other, values in matches.items():
                across[row, column, columns[other]] = values
                across[row, columns[other], column] = values.T
        return Evidence(voices=VoiceStatistics(**parts), overlap=overlap, across=across, audible=audible)

    def _weighed(self, piece: _Piece, level: float) -> tuple[Tensor, float, dict[int, Tensor]]:
        """The evidence of a piece in nats, and the share of its voices to trust; faint sounds count little."""
        match = _OVERLAP_NATS * _share(piece.overlap_power, level) * piece.match.double()
        trust = _share(float(piece.blocks.max()), level)
        matches = {other: _ACROSS_NATS * trust * values.double() for other, values in piece.across.items()}
        return match, trust, matches

    def _note_entries(self, heard: list[set[int]], piece: _Piece, level: float, order: Tensor) -> None:
        """Adds to each slot the blocks of the recording in which its speaker is heard beyond doubt."""
        first = round(piece.start_sample / self.sample_rate / _BLOCK_SECONDS)
        for slot, block in self._entries(piece, level)[order].nonzero().tolist():
            heard[slot].add(first + block)


def _by_first_entry(heard: list[set[int]]) -> list[int]:
    """Speakers in the order in which they are first heard for half a second in all."""
    first = [sorted(blocks)[min(1, len(blocks) - 1)] if blocks else float("inf") for blocks in heard]
    return sorted(range(len(heard)), key=lambda speaker: (first[speaker], speaker))


def _share(power: float, level: float) -> float:
    faint = (_FAINT * level) ** 2
    return power**2 / (power**2 + faint)


def _stack(voices: list[VoiceStatistics]) -> VoiceStatistics:
    names = ("count", "total", "scatter", "pitch")
    return VoiceStatistics(**{name: torch.stack([getattr(voice, name) for voice in voices]) for name in names})
