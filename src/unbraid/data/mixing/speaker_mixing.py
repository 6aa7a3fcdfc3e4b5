"""Mixtures of speakers, made on the fly: who speaks, which stretch, how fast, how loud, when, and what noise is about.

Works on utterances with known speakers, and as well on finished mixtures, whose sources are utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch

from unbraid.data.augment import Augmentations, augment, stretch_of
from unbraid.data.augment.speed import change_speed
from unbraid.data.items import Dataset, Example, Item
from unbraid.data.mixing.pools import Pool, SourceRecording, Weights, fit_memory, is_silent, place, recordings_of
from unbraid.data.mixing.speaker_levels import BalancedLevels, SpeakerLevels
from unbraid.data.mixing.turns import Turns
from unbraid.errors import ConfigError, DataError
from unbraid.models.contract import ModelSpec
from unbraid.options import PositiveFloat, Range, Share, check_option, check_options, check_range


@dataclass(frozen=True, kw_only=True)
class SpeakerMixing:
    """How training mixtures of speakers are drawn."""

    num_speakers: Annotated[int, Range(at_least=2.0)] = 2

    segment_seconds: PositiveFloat = 3.0
    """Length of a mixture, the greatest length where `length` says so."""

    length: Literal["segment", "min", "max"] = "segment"
    """Each mixture has the segment's length, that of its shortest speaker, or that of its longest one."""

    levels: SpeakerLevels = field(default_factory=BalancedLevels)

    speed_range: tuple[PositiveFloat, PositiveFloat] = (0.95, 1.05)
    """Each speaker is resampled by a factor from this range, which moves pitch, formants and tempo together."""

    speed_choices: tuple[PositiveFloat, ...] = ()
    """Factors to choose from instead of the range, such as SpeechBrain's (0.95, 1.0, 1.05)."""

    speaker_weights: Literal["equal", "utterances", "seconds"] = "equal"
    """Whether speakers are as likely as each other, or as they have utterances (SpeechBrain), or as they speak."""

    speaker_counts: Mapping[str, PositiveFloat] = field(default_factory=dict)
    """How many speakers a name stands for where a data set does not tell them apart; it is so many times as likely as
    it would be. Two of one name are never mixed, whatever the weights."""

    utterance_weights: Weights = "seconds"

    noise: str | None = None
    """Name of the source of the data set that noise is taken from; None mixes speakers only."""

    noise_share: Share = 1.0
    """Share of the mixtures that have noise, where `noise` names some; the others are speakers only."""

    turns: Turns = field(default_factory=Turns)
    """Who speaks when; as it comes, all speak all the time."""

    augmentations: Augmentations = ()
    """Done to every speaker before the levels are set."""

    def __post_init__(self) -> None:
        check_options(self)
        check_range("speed_range", self.speed_range)
        for name, count in self.speaker_counts.items():
            check_option(f"speaker_counts of '{name}'", count, PositiveFloat)


class SpeakerDrawer:
    """Draws mixtures of the speakers of a data set."""

    def __init__(self, dataset: Dataset, mixing: SpeakerMixing, spec: ModelSpec) -> None:
        self.mixing, self.spec = mixing, spec
        self.sources = tuple(source for source in spec.sources if source != mixing.noise)
        utterances = utterances_of(dataset, mixing, len(self.sources))
        self.speakers = sorted(utterances)
        noises = [] if mixing.noise is None else recordings_of(dataset, mixing.noise)
        everything = [*(one for speaker in utterances.values() for one in speaker), *noises]
        keep = fit_memory(everything, spec.sample_rate, spec.num_channels)
        self._pools = [Pool(utterances[speaker], mixing.utterance_weights, keep) for speaker in self.speakers]
        self._probabilities = None
        if mixing.speaker_weights != "equal" or mixing.speaker_counts.keys() & utterances.keys():
            weights = speaker_weights(mixing, {name: utterances[name] for name in self.speakers})
            self._probabilities = np.array(weights) / sum(weights)
        self._noise = None
        if mixing.noise is not None:
            if not noises:
                raise DataError(f"has no source '{mixing.noise}' to take noise from", subject=f"{dataset.root}")
            self._noise = Pool(noises, "seconds", keep)

    def draw(self, seed: int, index: int) -> Example:
        mixing, spec = self.mixing, self.spec
        generator = np.random.default_rng([seed, index])
        most = round(mixing.segment_seconds * spec.sample_rate)
        chosen = generator.choice(len(self.speakers), mixing.num_speakers, replace=False, p=self._probabilities)
        pieces = [self._draw_speech(int(number), most, generator) for number in chosen]
        noise = None
        if self._noise is not None and (mixing.noise_share == 1 or generator.random() < mixing.noise_share):
            noise = self._noise.draw(most, spec.sample_rate, spec.num_channels, generator)
        length = _common_length(mixing.length, [piece.shape[-1] for piece in pieces], most)
        speakers = np.stack([place(piece, length, generator) for piece in pieces])
        if noise is not None:
            noise = place(noise, length, generator)
        speakers, noise = mixing.levels.scale(speakers, noise, spec.sample_rate, generator)
        speakers = mixing.turns.take(speakers, spec.sample_rate, generator)
        mixture = speakers.sum(axis=0)
        if noise is not None:
            mixture = mixture + noise
        numbers = iter(range(len(speakers)))
        silence = np.zeros_like(mixture) if noise is None else noise
        references = [silence if source == mixing.noise else speakers[next(numbers)] for source in spec.sources]
        return Example(
            torch.from_numpy(mixture),
            torch.from_numpy(np.stack(references)),
            torch.ones(len(spec.sources), dtype=torch.bool),
        )

    def _draw_speech(self, number: int, most: int, generator: np.random.Generator) -> np.ndarray:
        """A piece of this speaker's speech that is not silence, (channel, at most `most` samples)."""
        mixing, spec = self.mixing, self.spec
        speed = float(
            generator.choice(mixing.speed_choices) if mixing.speed_choices else generator.uniform(*mixing.speed_range)
        )
        wanted = int(most * stretch_of(mixing.augmentations) * speed) + 1
        piece = self._pools[number].draw(wanted, spec.sample_rate, spec.num_channels, generator)
        if is_silent(piece):
            raise DataError(
                f"speaker {self.speakers[number]} has hardly anything but silence in "
                f"{len(self._pools[number].recordings)} utterances",
                remedy="leave the speaker out",
            )
        return augment(change_speed(piece, speed), mixing.augmentations, spec.sample_rate, generator)[:, :most]


def utterances_of(dataset: Dataset, mixing: SpeakerMixing, num_sources: int) -> dict[str, list[SourceRecording]]:
    """Speaker -> utterances; refuses what has too few speakers, and a model for another number of them."""
    if num_sources != mixing.num_speakers:
        raise ConfigError(
            f"the model gives {num_sources} speakers and the mixtures have {mixing.num_speakers}",
            remedy="set num_speakers to the model's",
        )
    utterances: dict[str, list[SourceRecording]] = {}
    for item in dataset.items:
        for source, clips in item.sources.items():
            # Noise comes with the mixtures of some data sets without being one of their sources.
            if clips and source in dataset.sources and source != mixing.noise:
                utterances.setdefault(_speaker(item, source), []).append(SourceRecording(clips))
    if len(utterances) < mixing.num_speakers:
        raise DataError(
            f"has {len(utterances)} speakers in the split '{dataset.split}'; {mixing.num_speakers} are needed",
            subject=f"{dataset.root}",
        )
    return utterances


def speaker_weights(mixing: SpeakerMixing, utterances: Mapping[str, Sequence[SourceRecording]]) -> list[float]:
    """How likely each speaker is, relative to the others."""
    weights = []
    for name, recordings in utterances.items():
        match mixing.speaker_weights:
            case "equal":
                weight = 1.0
            case "utterances":
                weight = float(len(recordings))
            case "seconds":
                weight = sum(recording.seconds for recording in recordings)
        weights.append(weight * mixing.speaker_counts.get(name, 1.0))
    return weights


def _common_length(rule: str, lengths: list[int], most: int) -> int:
    if rule == "segment":
        return most
    return min(most, max(1, min(lengths) if rule == "min" else max(lengths)))


def _speaker(item: Item, source: str) -> str:
    """Who speaks: label `speaker` of an utterance, in a mixture the label named like the source, else somebody new."""
    if len(item.sources) == 1 and "speaker" in item.labels:
        return item.labels["speaker"]
    return item.labels.get(source, f"{item.name}/{source}")
