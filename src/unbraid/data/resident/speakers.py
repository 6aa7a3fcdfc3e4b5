"""Mixtures of speakers drawn on the device; as `data/mixing/speaker_mixing.py` draws them, a whole batch at once."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor
from unbraid.data.items import Dataset, Example
from unbraid.data.mixing.pools import recordings_of, weigh
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB, BalancedLevels
from unbraid.data.mixing.speaker_mixing import SpeakerMixing, speaker_weights, utterances_of
from unbraid.data.mixing.turns import FADE_SECONDS, Turns
from unbraid.data.resident.levels import at_level, is_silent, level_db
from unbraid.data.resident.sounds import Choice, ResidentSounds, seeded
from unbraid.errors import ConfigError
from unbraid.models.contract import ModelSpec


class ResidentSpeakers:
    """Draws batches of mixtures of speakers."""

    def __init__(self, dataset: Dataset, mixing: SpeakerMixing, spec: ModelSpec, device: torch.device) -> None:
        if mixing.length != "segment" or not isinstance(mixing.levels, BalancedLevels) or mixing.speed_choices:
            raise ConfigError("`resident` draws segments of one length, at balanced levels and speeds of a range")
        if mixing.augmentations:
            raise ConfigError("`resident` knows no augmentations of speakers", remedy="leave them out")
        self.mixing, self.spec, self.device = mixing, spec, device
        self.sources = tuple(source for source in spec.sources if source != mixing.noise)
        utterances = utterances_of(dataset, mixing, len(self.sources))
        names = sorted(utterances)
        recordings = [recording for name in names for recording in utterances[name]]
        noises = [] if mixing.noise is None else recordings_of(dataset, mixing.noise)
        if mixing.noise is not None and not noises:
            raise ConfigError(f"the data has no source '{mixing.noise}' to take noise from")
        self.sounds = ResidentSounds([*recordings, *noises], spec.sample_rate, spec.num_channels, device)
        weights = speaker_weights(mixing, {name: utterances[name] for name in names})
        self._speaker_log_weights = torch.tensor(weights, dtype=torch.float32, device=device).log()
        # Utterances lie on a line speaker after speaker: a place within a speaker's share of it is one of theirs.
        line = torch.tensor(
            [weight for name in names for weight in weigh(utterances[name], mixing.utterance_weights)],
            dtype=torch.float64,
        ).cumsum(0)
        ends = torch.tensor([len(utterances[name]) for name in names]).cumsum(0) - 1
        self._line, self._last = line.to(device), ends.to(device)
        self._share_ends = line[ends].to(device)
        self._share_begins = torch.cat([line.new_zeros(1), line[ends][:-1]]).to(device)
        self._first = torch.cat([ends.new_zeros(1), ends[:-1] + 1]).to(device)
        self._noise = Choice([one.seconds for one in noises], device, first=len(recordings)) if noises else None

    def draw(self, batch_size: int, *numbers: int) -> Example:
        """A batch that is a function of these numbers."""
        random = seeded(self.device, *numbers)
        speakers = self._speech(batch_size, random)
        noise = None if self._noise is None else self._draw_noise(batch_size, random)
        speakers, noise = self._scaled(speakers, noise, random)
        speakers = take_turns(speakers, self.mixing.turns, self.spec.sample_rate, random)
        mixture = speakers.sum(dim=1)
        if noise is not None:
            mixture = mixture + noise
        silence = torch.zeros_like(mixture) if noise is None else noise
        given = iter(speakers.unbind(1))
        references = [silence if source == self.mixing.noise else next(given) for source in self.spec.sources]
        present = torch.ones(batch_size, len(self.spec.sources), dtype=torch.bool, device=self.device)
        return Example(mixture, torch.stack(references, dim=1), present)

    @property
    def _num_samples(self) -> int:
        return round(self.mixing.segment_seconds * self.spec.sample_rate)

    def _uniform(self, *shape: int, random: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=random, device=self.device)

    def _speech(self, batch_size: int, random: torch.Generator) -> Float[Tensor, "batch source channel sample"]:
        # The largest of weights over exponential numbers: different speakers, each as likely as its weight.
        gumbel = (
            -torch.empty(batch_size, len(self._speaker_log_weights), device=self.device)
            .exponential_(generator=random)
            .log()
        )
        chosen = (self._speaker_log_weights + gumbel).topk(len(self.sources), dim=1).indices.flatten()
        lowest, highest = self.mixing.speed_range
        speed = lowest + (highest - lowest) * self._uniform(len(chosen), random=random)
        pieces = self._pieces(chosen, speed, random)
        # Once anew where it is silent, which a recording may be for a while.
        again = self._pieces(chosen, speed, random)
        pieces = torch.where(is_silent(pieces)[:, None, None], again, pieces)
        return pieces.unflatten(0, (batch_size, -1))

    def _pieces(self, chosen: Tensor, speed: Tensor, random: torch.Generator) -> Tensor:
        """Of each speaker a piece as long as a mixture, or a whole utterance somewhere in it."""
        share, place = self._uniform(2, len(chosen), random=random)
        begin, end = self._share_begins[chosen], self._share_ends[chosen]
        utterance = torch.searchsorted(self._line, begin + share.double() * (end - begin), right=True)
        utterance = torch.maximum(torch.minimum(utterance, self._last[chosen]), self._first[chosen])
        start = place_in(self.sounds.length[utterance], speed, self._num_samples, place)
        return self.sounds.cut(utterance, start, self._num_samples, speed)

    def _draw_noise(self, batch_size: int, random: torch.Generator) -> Float[Tensor, "batch channel sample"]:
        assert self._noise is not None
        number, place, has_noise = self._uniform(3, batch_size, random=random)
        chosen = self._noise.draw(number)
        start = place_in(self.sounds.length[chosen], torch.ones_like(place), self._num_samples, place)
        noise = self.sounds.cut(chosen, start, self._num_samples)
        return noise * (has_noise < self.mixing.noise_share)[:, None, None]

    def _scaled(self, speakers: Tensor, noise: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """As `BalancedLevels.scale` does it."""
        levels, rate = self.mixing.levels, self.spec.sample_rate
        assert isinstance(levels, BalancedLevels)
        batch_size, num_speakers = speakers.shape[:2]
        spread = levels.level_difference_db / 2
        wanted = spread * (2 * self._uniform(batch_size * num_speakers, random=random) - 1)
        speakers = at_level(speakers.flatten(0, 1), wanted, "rms", rate).unflatten(0, (batch_size, num_speakers))
        of_mixture, below = self._uniform(2, batch_size, random=random)
        lowest, highest = levels.gain_range_db
        speech_db = level_db(speakers.sum(dim=1), "rms", rate)
        gain_db = MIXTURE_LEVEL_DB + lowest + (highest - lowest) * of_mixture - speech_db.clamp(min=-120)
        if noise is not None:
            least, most = levels.noise_below_db
            noise = at_level(noise, speech_db + gain_db - (least + (most - least) * below), "rms", rate)
        return speakers * (10 ** (gain_db / 20))[:, None, None, None], noise


def place_in(length: Tensor, speed: Tensor, num_samples: int, uniform: Tensor) -> Tensor:
    """Where in each recording a stretch begins: anywhere in a long one, before a short one, which then is whole."""
    spare = num_samples - (length / speed).floor()
    inside = uniform * (length - num_samples * speed).clamp(min=0)
    return torch.where(spare > 0, -(uniform * (spare + 1)).floor() * speed, inside)


def take_turns(
    speakers: Float[Tensor, "batch source channel sample"], turns: Turns, sample_rate: int, random: torch.Generator
) -> Float[Tensor, "batch source channel sample"]:
    """As `Turns.take` does it: each mixture with all speaking, with one alone, or one after the other."""
    if turns.alone_share + turns.turns_share == 0:
        return speakers
    batch_size, num_speakers, _, num_samples = speakers.shape
    device = speakers.device
    kind = torch.rand(batch_size, generator=random, device=device)
    order = torch.rand(batch_size, num_speakers, generator=random, device=device).argsort(dim=1)
    changes = (0.2 + 0.6 * torch.rand(batch_size, num_speakers - 1, generator=random, device=device)).sort(dim=1)[0]
    shortest, longest = turns.overlap_seconds
    overlap = shortest + (longest - shortest) * torch.rand(changes.shape, generator=random, device=device)
    reach = overlap / 2 * sample_rate
    far = torch.full((batch_size, 1), 2.0 * num_samples, device=device)
    begins = torch.cat([-far, changes * num_samples - reach], dim=1).gather(1, order)
    ends = torch.cat([changes * num_samples + reach, far], dim=1).gather(1, order)
    time = torch.arange(num_samples, device=device)
    inside = torch.minimum(time - begins[..., None], ends[..., None] - time)
    gates = (inside / (FADE_SECONDS * sample_rate)).clamp(0, 1)
    alone, in_turn = kind < turns.alone_share, kind < turns.alone_share + turns.turns_share
    gates = torch.where(alone[:, None, None], (order == 0).float()[..., None], gates)
    return speakers * torch.where(in_turn[:, None, None], gates, 1).unsqueeze(2)
