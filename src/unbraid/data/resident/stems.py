"""Mixtures of named sources drawn on the device; as `data/mixing/stem_mixing.py` draws them, a whole batch at once."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor
from unbraid.data.augment.simple import ChannelSwap, Gain, Polarity
from unbraid.data.items import ACCOMPANIMENT, Dataset, Example
from unbraid.data.mixing.pools import SourceRecording, recordings_of, weigh
from unbraid.data.mixing.stem_mixing import FADE_SECONDS, SourceDrawing, StemMixing, longest_of, songs_of
from unbraid.data.resident.levels import at_level, draw_level
from unbraid.data.resident.sounds import Choice, ResidentSounds, seeded
from unbraid.errors import ConfigError, DataError
from unbraid.models.contract import ModelSpec

_KNOWN = (ChannelSwap, Gain, Polarity)


class ResidentStems:
    """Draws batches of mixtures of named sources."""

    def __init__(self, dataset: Dataset, mixing: StemMixing, spec: ModelSpec, device: torch.device) -> None:
        self.mixing, self.spec, self.device = mixing, spec, device
        self._songs = songs_of(dataset) if mixing.coherent_probability else []
        if mixing.coherent_probability and not self._songs:
            raise DataError("has no item with more than one source to take from one moment", subject=f"{dataset.root}")
        pools = {source: found for source in dataset.sources if (found := recordings_of(dataset, source))}
        self._names = list(dict.fromkeys([*pools, *(name for song in self._songs for name in song)]))
        self._drawings = {name: mixing.drawings.get(name, mixing.drawing) for name in self._names}
        self._targets = {name: self._drawings[name].part_of or name for name in self._names if name != ACCOMPANIMENT}
        if unknown := set(mixing.drawings) - set(dataset.sources):
            raise ConfigError(f"drawings names {', '.join(sorted(unknown))}, which the data does not have")
        if not set(self._targets.values()) & set(spec.sources):
            raise DataError(f"has no source of the model, {', '.join(spec.sources)}", subject=f"{dataset.root}")
        for drawing in self._drawings.values():
            _refuse_unknown(drawing)
        recordings: list[SourceRecording] = []
        self._choices: dict[str, Choice] = {}
        for name, found in pools.items():
            weights = weigh(found, self._drawings[name].weights)
            self._choices[name] = Choice(weights, device, first=len(recordings))
            recordings += found
        # What is drawn alone and in its song lies in memory once.
        places = {recording.clips: number for number, recording in enumerate(recordings)}
        table = torch.full((len(self._songs), len(self._names)), -1)
        for row, song in enumerate(self._songs):
            for column, name in enumerate(self._names):
                if name in song:
                    if song[name].clips not in places:
                        places[song[name].clips] = len(recordings)
                        recordings.append(song[name])
                    table[row, column] = places[song[name].clips]
        self.sounds = ResidentSounds(recordings, spec.sample_rate, spec.num_channels, device)
        self._song_table = table.to(device)
        self._drawn_alone = torch.tensor([name in self._choices for name in self._names], device=device)
        if self._songs:
            self._song_choice = Choice(weigh([longest_of(song) for song in self._songs], mixing.song_weights), device)
            lengths = [longest_of(song).num_samples(spec.sample_rate) for song in self._songs]
            self._song_length = torch.tensor(lengths, device=device)

    def draw(self, batch_size: int, *numbers: int) -> Example:
        """A batch that is a function of these numbers."""
        random, spec = seeded(self.device, *numbers), self.spec
        there, song, start = self._choose_songs(batch_size, random)
        kept = self._keep(there, random)
        coherent = song >= 0
        num_samples = round(self.mixing.segment_seconds * spec.sample_rate)
        mixture = torch.zeros(batch_size, spec.num_channels, num_samples, device=self.device)
        references = [torch.zeros_like(mixture) for _ in spec.sources]
        known = [torch.zeros(batch_size, dtype=torch.bool, device=self.device) for _ in spec.sources]
        for column, name in enumerate(self._names):
            samples = self._draw_alone(name, batch_size, num_samples, random)
            if self._songs:
                number = self._song_table[song.clamp(min=0), column].clamp(min=0)
                of_song = self._augmented(self.sounds.cut(number, start, num_samples), self._drawings[name], random)
                samples = torch.where(coherent[:, None, None], of_song, samples)
            level = self._drawings[name].level
            wanted = draw_level(level, *self._two(batch_size, random))
            samples = at_level(samples, wanted, level.measure, spec.sample_rate) * kept[:, column, None, None]
            mixture = mixture + samples
            if (target := self._targets.get(name)) in spec.sources:
                place = spec.sources.index(target)
                references[place] = references[place] + samples
                known[place] = known[place] | there[:, column]
        stacked = torch.stack(references, dim=1)
        if (level := self.mixing.mixture_level) is not None:
            wanted = draw_level(level, *self._two(batch_size, random))
            scaled = at_level(mixture, wanted, level.measure, spec.sample_rate)
            gain = scaled.abs().amax(dim=(1, 2)) / mixture.abs().amax(dim=(1, 2)).clamp(min=1e-9)
            mixture, stacked = scaled, stacked * gain[:, None, None, None]
        return Example(mixture, stacked, torch.stack(known, dim=1))

    def _two(self, batch_size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform and normal numbers."""
        uniform = torch.rand(batch_size, generator=random, device=self.device)
        return uniform, torch.randn(batch_size, generator=random, device=self.device)

    def _choose_songs(self, batch_size: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Which sources each example has, its song or -1, and where in the song it begins."""
        whether, which, where = torch.rand(3, batch_size, generator=random, device=self.device)
        if not self._songs:
            everywhere = torch.ones(batch_size, len(self._names), dtype=torch.bool, device=self.device)
            return everywhere, torch.full((batch_size,), -1, device=self.device), where
        song = self._song_choice.draw(which)
        spare = self._song_length[song] - round(self.mixing.segment_seconds * self.spec.sample_rate)
        start = (where * (spare.clamp(min=0) + 1)).floor()
        coherent = whether < self.mixing.coherent_probability
        there = torch.where(coherent[:, None], self._song_table[song] >= 0, self._drawn_alone)
        return there, torch.where(coherent, song, -1), start

    def _keep(self, there: Tensor, random: torch.Generator) -> Tensor:
        """The sources that sound: each is dropped with its probability, and never all of them."""
        chance = torch.rand(there.shape, generator=random, device=self.device)
        drop = [self._drawings[name].drop_probability for name in self._names]
        kept = torch.stack([there[:, column] & (chance[:, column] >= share) for column, share in enumerate(drop)], 1)
        # Of those all of which would be dropped, the one that was nearest to being kept.
        nearest = torch.where(there, chance, -1.0).argmax(dim=1, keepdim=True)
        last = torch.zeros_like(kept).scatter(1, nearest, True)
        return torch.where(kept.any(dim=1, keepdim=True), kept, last)

    def _draw_alone(
        self, name: str, batch_size: int, num_samples: int, random: torch.Generator
    ) -> Float[Tensor, "batch channel sample"]:
        """Pieces of a source from anywhere in the data."""
        total = torch.zeros(batch_size, self.spec.num_channels, num_samples, device=self.device)
        if name not in self._choices:
            return total
        drawing, rate = self._drawings[name], self.spec.sample_rate
        fewest, most = drawing.num_pieces
        count = fewest + (torch.rand(batch_size, generator=random, device=self.device) * (most - fewest + 1)).floor()
        for piece in range(most):
            which, size, start, place = torch.rand(4, batch_size, generator=random, device=self.device)
            number = self._choices[name].draw(which)
            length = self.sounds.length[number]
            longest = torch.full_like(length, num_samples)
            if drawing.piece_seconds is not None:
                shortest, greatest = (seconds * rate for seconds in drawing.piece_seconds)
                longest = (shortest + (greatest - shortest) * size).round().long().clamp(1, num_samples)
            length = torch.minimum(length, longest)
            begin = (start * (self.sounds.length[number] - length + 1)).floor()
            offset = (place * (num_samples - length + 1)).floor()
            samples = self.sounds.cut(number, begin - offset, num_samples)
            samples = samples * _window(offset, length, num_samples, round(FADE_SECONDS * rate))
            samples = self._augmented(samples, drawing, random)
            level = draw_level(drawing.piece_level, *self._two(batch_size, random))
            samples = at_level(samples, level, drawing.piece_level.measure, rate)
            total = total + samples * (piece < count)[:, None, None]
        return total

    def _augmented(self, samples: Tensor, drawing: SourceDrawing, random: torch.Generator) -> Tensor:
        for augmentation in drawing.augmentations:
            whether, how = torch.rand(2, len(samples), generator=random, device=self.device)
            match augmentation:
                case Gain(range_db=(lowest, highest)):
                    changed = samples * (10 ** ((lowest + (highest - lowest) * how) / 20))[:, None, None]
                case Polarity():
                    changed = -samples
                case _:
                    changed = samples.flip(1)
            samples = torch.where((whether < augmentation.probability)[:, None, None], changed, samples)
        return samples


def _window(offset: Tensor, length: Tensor, num_samples: int, fade: int) -> Tensor:
    """1 over each piece and 0 elsewhere, with faded ends where it is shorter than the whole."""
    time = torch.arange(num_samples, device=offset.device)
    since, until = time - offset[:, None], (offset + length)[:, None] - 1 - time
    inside = (since >= 0) & (until >= 0)
    ramp = (torch.minimum(since, until) / max(fade, 1)).clamp(0, 1)
    whole = (length == num_samples)[:, None]
    return torch.where(whole, inside.float(), torch.where(inside, ramp, 0))[:, None]


def _refuse_unknown(drawing: SourceDrawing) -> None:
    if drawing.arrangement == "in-turn":
        raise ConfigError("`resident` lets pieces overlap and does not put one after the other")
    for augmentation in drawing.augmentations:
        if not isinstance(augmentation, _KNOWN):
            raise ConfigError(
                f"`resident` does not know the augmentation {type(augmentation).__name__}",
                remedy="it has Gain, Polarity and ChannelSwap",
            )
