"""What is measured of a piece, one channel of one chunk, to tell later which speaker is which in it."""

from dataclasses import dataclass

import torch
from einops import rearrange

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.separation.speakers.voice import VoiceMeter, VoiceStatistics, voice_meter

MAX_SPEAKERS = 4
MIN_RATE = 4000
"""Hz; below, voices cannot be told apart."""
BLOCK_SECONDS = 0.25
# A perfect match of two overlaps, or of two channels, against none: odds of e to these (ours).
_OVERLAP_NATS = 30.0
_ACROSS_NATS = 20.0
# Relative to the mean power of a channel: what lies this far below tells noise from noise, not speaker from speaker.
_FAINT = 10**-3.2
_AUDIBLE = 10**-2.0
# What makes a speaker's entry: not a murmur, and clearly more than what the other estimates hold.
_SUBSTANTIAL = 10**-1.5


def can_track(num_sources: int, sample_rate: int) -> bool:
    """Whether speakers of a model with so many outputs, at a rate in Hz, can be told apart."""
    return 2 <= num_sources <= MAX_SPEAKERS and sample_rate >= MIN_RATE


class Voices:
    """Those of one piece, which are measured when somebody asks: the only piece of a short recording is not asked."""

    def __init__(self, meter: VoiceMeter, power: Float[Tensor, "source freq frame"]) -> None:
        self._meter, self._power = meter, power
        self._statistics: VoiceStatistics | None = None

    def statistics(self) -> VoiceStatistics:
        """Measures them now if that was not done, and lets go of the spectra, which are large."""
        if self._statistics is None:
            self._statistics = self._meter.measure(self._power)
            del self._power
        return self._statistics


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is kept of a piece; about 3 kB for two speakers."""

    first_block: int
    """Where in the recording its first quarter of a second lies."""
    measured: Voices
    blocks: Float[Tensor, "source block"]
    """Mean power."""
    match: Float[Tensor, "source source2"]
    """With the estimates of the chunk before, over what the two chunks share."""
    overlap_power: float
    across: dict[int, Float[Tensor, "source source2"]]
    """With the estimates of other channels of the chunk, by their index."""

    @property
    def voices(self) -> VoiceStatistics:
        return self.measured.statistics()

    def audible(self, level: float) -> Tensor:
        """Estimates in which somebody is heard now and then, not just noise or a trace of another."""
        return ((self.blocks > _AUDIBLE * level) & (2 * self.blocks > self.blocks.amax(0))).any(-1)

    def entries(self, level: float) -> Tensor:
        """Blocks in which each source is heard beyond doubt."""
        return (self.blocks > _SUBSTANTIAL * level) & (3 * self.blocks > 2 * self.blocks.sum(0))

    def weighed(self, level: float) -> tuple[Tensor, float, dict[int, Tensor]]:
        """The evidence in nats, and the share of the voices to trust; faint sounds count little."""
        match = _OVERLAP_NATS * _share(self.overlap_power, level) * self.match.double()
        trust = _share(float(self.blocks.max()), level)
        matches = {other: _ACROSS_NATS * trust * values.double() for other, values in self.across.items()}
        return match, trust, matches

    def note_entries(self, heard: list[set[int]], level: float, order: Tensor) -> None:
        """Adds to each slot the blocks of the recording in which its speaker is heard beyond doubt."""
        for slot, block in self.entries(level)[order].nonzero().tolist():
            heard[slot].add(self.first_block + block)


class PieceMeter:
    """Measures the pieces of one recording in order of time; of an estimate it keeps what the next chunk overlaps."""

    def __init__(self, num_sources: int, sample_rate: int, overlap_samples: int) -> None:
        if not 2 <= num_sources <= MAX_SPEAKERS:
            raise ConfigError(f"Speakers are tracked for models with 2 to {MAX_SPEAKERS} outputs, not {num_sources}.")
        if sample_rate < MIN_RATE:
            raise ConfigError(
                f"Voices need a sample rate of at least {MIN_RATE} Hz to be told apart, not {sample_rate}."
            )
        self.num_sources, self.sample_rate, self.overlap_samples = num_sources, sample_rate, overlap_samples
        self._voice = voice_meter(sample_rate)
        self._latest_voices: Voices | None = None
        self._tails: dict[int, tuple[int, Tensor]] = {}
        """By channel, where the end of its latest estimate begins, and that end."""
        self._powers: dict[int, tuple[float, int]] = {}
        """By channel, the sum and the number of blocks."""
        self._contours: dict[int, Tensor] = {}
        """By channel of the latest chunk."""
        self._latest_chunk = -1

    def measure(
        self, chunk_index: int, channel_index: int, start_sample: int, estimate: Float[Tensor, "source sample"]
    ) -> Piece:
        """One piece; channels of a chunk come in any order, chunks in order of time."""
        if estimate.shape[0] != self.num_sources:
            raise ConfigError(f"The tracker follows {self.num_sources} speakers but got {estimate.shape[0]} estimates.")
        again = chunk_index == self._latest_chunk and channel_index in self._contours
        if chunk_index < self._latest_chunk or again:
            raise ConfigError(
                f"Chunk {chunk_index}, channel {channel_index} comes twice or late: keep to the order of time."
            )
        if chunk_index > self._latest_chunk:
            self._contours.clear()
            self._latest_chunk = chunk_index
        estimate = estimate.detach().to("cpu", torch.float32)
        power = self._voice.power(estimate)
        loudness = self._voice.loudness(power)
        blocks = self._blocks(loudness)
        match, overlap_power = self._match_overlap(channel_index, start_sample, estimate)
        if self._latest_voices is not None:
            self._latest_voices.statistics()
        self._latest_voices = Voices(self._voice, power)
        total, count = self._powers.get(channel_index, (0.0, 0))
        self._powers[channel_index] = total + float(blocks.amax(0).sum()), count + blocks.shape[1]
        return Piece(
            first_block=round(start_sample / self.sample_rate / BLOCK_SECONDS),
            measured=self._latest_voices,
            blocks=blocks,
            match=match,
            overlap_power=overlap_power,
            across=self._match_channels(channel_index, loudness),
        )

    def levels(self) -> dict[int, float]:
        """Mean power of the loudest estimate in each channel; at least -50 dB of the loudest channel."""
        level = {channel: total / count for channel, (total, count) in self._powers.items()}
        floor = max(1e-5 * max(level.values()), 1e-20)
        return {channel: max(value, floor) for channel, value in level.items()}

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
            other: contour @ theirs.T for other, theirs in self._contours.items() if theirs.shape == contour.shape
        }
        self._contours[channel] = contour
        return matches

    def _blocks(self, loudness: Tensor) -> Tensor:
        """Mean power in blocks of a quarter of a second."""
        frames = max(round(BLOCK_SECONDS * self.sample_rate / self._voice.hop), 1)
        whole = torch.nn.functional.pad(loudness, (0, -loudness.shape[1] % frames))
        return rearrange(whole, "source (block frame) -> source block frame", frame=frames).mean(-1)


def _share(power: float, level: float) -> float:
    faint = (_FAINT * level) ** 2
    return power**2 / (power**2 + faint)
