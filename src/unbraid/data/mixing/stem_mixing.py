"""Mixtures of sources that have names: stems of songs, or dialogue, music and effects, each from wherever it lies.

Every source is drawn independently, as SFC does, or all of them from one song and moment. A data set whose items hold
one source each, such as sounds in folders, is as good as one of songs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from unbraid.data.augment import Augmentations, augment, stretch_of
from unbraid.data.items import ACCOMPANIMENT, Dataset, Example
from unbraid.data.mixing.levels import Level, to_level
from unbraid.data.mixing.pools import (
    Pool,
    Silence,
    SourceRecording,
    Weights,
    fit_memory,
    is_silent,
    place,
    recordings_of,
    weigh,
)
from unbraid.errors import ConfigError, DataError
from unbraid.models.contract import ModelSpec
from unbraid.options import Dropout, PositiveFloat, PositiveInt, Share, check_options, check_range

FADE_SECONDS = 0.005
"""ours: at both ends of a piece that stands alone in a segment, so that a cut does not click."""


@dataclass(frozen=True, kw_only=True)
class SourceDrawing:
    """How one source of the data set is drawn."""

    level: Level = field(default_factory=lambda: Level(spread_db=10.0))
    """SFC: RMS 0 dB and a gain within 10 dB of it. A silent source stays silent."""

    drop_probability: Dropout = 0.1
    """Of being silent in a mixture. SFC: 0.1 for MUSDB18, 0.05 for Divide and Remaster."""

    num_pieces: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Fewest and most pieces of different recordings in a segment. MTFA's mix-audio is (2, 2)."""

    piece_seconds: tuple[PositiveFloat, PositiveFloat] | None = None
    """Shortest and longest piece; None takes each recording up to the segment's length."""

    piece_level: Level = field(default_factory=lambda: Level(measure="as-recorded"))
    """Of every piece before they are summed; it sets them in proportion to each other."""

    arrangement: Literal["anywhere", "in-turn"] = "anywhere"
    """How pieces that are shorter than the segment stand: they may overlap (events), or one follows another (talk)."""

    part_of: str | None = None
    """The model's source that this one is part of; None for the one of the same name. So foreground and background
    effects get levels of their own and are still one reference."""

    weights: Weights = "equal"

    silence: Silence = "redrawn"
    """What becomes of silent pieces: "kept" is ResUNetDecouple+'s drawing, where a song's rests are as likely as its
    sound. Those drawn on the device (`resident`) are kept either way."""

    augmentations: Augmentations = ()
    """Done to every piece before the levels are set."""

    def __post_init__(self) -> None:
        check_options(self)
        check_range("num_pieces", self.num_pieces)
        if self.piece_seconds is not None:
            check_range("piece_seconds", self.piece_seconds)


@dataclass(frozen=True, kw_only=True)
class StemMixing:
    """How training mixtures of named sources are drawn."""

    segment_seconds: PositiveFloat = 6.0

    drawing: SourceDrawing = field(default_factory=SourceDrawing)
    """For every source that `drawings` does not name."""

    drawings: Mapping[str, SourceDrawing] = field(default_factory=dict)
    """By source of the data set."""

    coherent_probability: Share = 0.0
    """Of taking all sources from one song and moment, each as one piece. Levels are set all the same: a `level` with
    measure "as-recorded" keeps the song's balance. Sources that the song lacks are then not present."""

    song_weights: Weights = "equal"
    """How likely each song is where all sources are of one song."""

    mixture_level: Level | None = None
    """Of the mixture, all of it scaled together; None leaves it where the sources put it."""

    def __post_init__(self) -> None:
        check_options(self)


class StemDrawer:
    """Draws mixtures of the named sources of a data set."""

    def __init__(self, dataset: Dataset, mixing: StemMixing, spec: ModelSpec) -> None:
        self.mixing, self.spec = mixing, spec
        self._drawings = {source: mixing.drawings.get(source, mixing.drawing) for source in dataset.sources}
        self._drawings.setdefault(ACCOMPANIMENT, mixing.drawing)
        unknown = set(mixing.drawings) - set(dataset.sources)
        if unknown:
            raise ConfigError(
                f"drawings names {', '.join(sorted(unknown))}, and {dataset.root} has {', '.join(dataset.sources)}"
            )
        recordings = {source: found for source in dataset.sources if (found := recordings_of(dataset, source))}
        everything = [recording for found in recordings.values() for recording in found]
        keep = fit_memory(everything, spec.sample_rate, spec.num_channels)
        self._pools = {
            source: Pool(found, self._drawings[source].weights, keep, self._drawings[source].silence)
            for source, found in recordings.items()
        }
        self._targets = {source: self._drawings[source].part_of or source for source in self._pools}
        if not set(self._targets.values()) & set(spec.sources):
            raise DataError(
                f"holds {', '.join(self._pools) or 'nothing'} in the split '{dataset.split}', and the "
                f"model wants {', '.join(spec.sources)}",
                subject=f"{dataset.root}",
                remedy="rename the sources or choose another data set",
            )
        self._songs = songs_of(dataset)
        self._song_bounds = np.cumsum(weigh([longest_of(song) for song in self._songs], mixing.song_weights))
        if mixing.coherent_probability and not self._songs:
            raise DataError("has no item with more than one source to take from one moment", subject=f"{dataset.root}")

    def draw(self, seed: int, index: int) -> Example:
        mixing, spec = self.mixing, self.spec
        generator = np.random.default_rng([seed, index])
        num_samples = round(mixing.segment_seconds * spec.sample_rate)
        coherent = mixing.coherent_probability and generator.random() < mixing.coherent_probability
        song = self._choose_song(generator) if coherent else None
        names = list(self._pools if song is None else song)
        kept = self._keep(names, generator)
        if song is None:
            drawn = {name: self._draw_source(name, num_samples, generator) for name in kept}
        else:
            drawn = self._draw_song({name: song[name] for name in kept}, num_samples, generator)
        references = np.zeros((spec.num_sources, spec.num_channels, num_samples), np.float32)
        mixture = np.zeros((spec.num_channels, num_samples), np.float32)
        for name, samples in drawn.items():
            if not is_silent(samples):
                level = self._drawings[name].level
                samples = to_level(samples, level.draw(generator), level.measure, spec.sample_rate)
            mixture += samples
            if (target := self._targets.get(name)) in spec.sources:
                references[spec.sources.index(target)] += samples
        if mixing.mixture_level is not None and not is_silent(mixture):
            level = mixing.mixture_level
            scaled = to_level(mixture, level.draw(generator), level.measure, spec.sample_rate)
            largest = int(np.abs(mixture).argmax())
            references *= scaled.flat[largest] / mixture.flat[largest]
            mixture = scaled
        known = {self._targets.get(name) for name in names}
        present = torch.tensor([source in known for source in spec.sources])
        return Example(torch.from_numpy(mixture), torch.from_numpy(references), present)

    def _choose_song(self, generator: np.random.Generator) -> dict[str, SourceRecording]:
        if self.mixing.song_weights == "equal":
            return self._songs[int(generator.integers(len(self._songs)))]
        position = generator.uniform(0, self._song_bounds[-1])
        return self._songs[min(int(np.searchsorted(self._song_bounds, position, side="right")), len(self._songs) - 1)]

    def _keep(self, names: list[str], generator: np.random.Generator) -> list[str]:
        """The sources that sound: each is dropped with its probability, and never all of them."""
        probabilities = np.array([self._drawings[name].drop_probability for name in names])
        while True:
            kept = generator.random(len(names)) >= probabilities
            if kept.any():
                return [name for name, keep in zip(names, kept, strict=True) if keep]

    def _draw_source(self, name: str, num_samples: int, generator: np.random.Generator) -> np.ndarray:
        """Pieces of this source in a segment, (channel, sample)."""
        drawing, rate = self._drawings[name], self.spec.sample_rate
        pieces = []
        for _ in range(int(generator.integers(drawing.num_pieces[0], drawing.num_pieces[1] + 1))):
            longest = num_samples
            if drawing.piece_seconds is not None:
                longest = min(num_samples, max(1, round(generator.uniform(*drawing.piece_seconds) * rate)))
            wanted = int(longest * stretch_of(drawing.augmentations))
            piece = self._pools[name].draw(wanted, rate, self.spec.num_channels, generator)
            piece = augment(piece, drawing.augmentations, rate, generator)[:, :longest]
            if not is_silent(piece):
                level = drawing.piece_level
                piece = to_level(piece, level.draw(generator), level.measure, rate)
            pieces.append(piece if piece.shape[-1] == num_samples else fade_ends(piece, rate))
        if len(pieces) == 1:
            return place(pieces[0], num_samples, generator)
        if drawing.arrangement == "in-turn":
            return _in_turn(pieces, num_samples, generator)
        return np.stack([place(piece, num_samples, generator) for piece in pieces]).sum(axis=0)

    def _draw_song(
        self, song: dict[str, SourceRecording], num_samples: int, generator: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The same moment of every source of a song."""
        rate, channels = self.spec.sample_rate, self.spec.num_channels
        stretch = max(stretch_of(self._drawings[name].augmentations) for name in song)
        wanted = int(num_samples * stretch)
        length = max(recording.num_samples(rate) for recording in song.values())
        start = int(generator.integers(max(length - wanted, 0) + 1))
        return {
            name: augment(
                recording.read(start, wanted, rate, channels), self._drawings[name].augmentations, rate, generator
            )[:, :num_samples]
            for name, recording in song.items()
        }


def songs_of(dataset: Dataset) -> list[dict[str, SourceRecording]]:
    """The items of several sources, which are of one moment."""
    songs = []
    for item in dataset.items:
        collection = item.labels.get("collection", "")
        song = {source: SourceRecording(clips, collection) for source, clips in item.sources.items() if clips}
        if len(song) > 1:
            songs.append(song)
    return songs


def longest_of(song: Mapping[str, SourceRecording]) -> SourceRecording:
    return max(song.values(), key=lambda recording: recording.seconds)


def _in_turn(pieces: list[np.ndarray], num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """One after the other with random gaps; what no longer fits is cut off."""
    placed = np.zeros((*pieces[0].shape[:-1], num_samples), np.float32)
    spare = max(0, num_samples - sum(piece.shape[-1] for piece in pieces))
    gaps = np.diff(np.sort(generator.integers(0, spare + 1, len(pieces))), prepend=0)
    position = 0
    for gap, piece in zip(gaps, pieces, strict=True):
        position += int(gap)
        piece = piece[..., : max(0, num_samples - position)]
        placed[..., position : position + piece.shape[-1]] = piece
        position += piece.shape[-1]
    return placed


def fade_ends(piece: np.ndarray, sample_rate: int) -> np.ndarray:
    """(channel, sample) with its ends faded over 5 ms, or half of it."""
    length = min(round(FADE_SECONDS * sample_rate), piece.shape[-1] // 2)
    if length == 0:
        return piece
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    piece = piece.copy()
    piece[..., :length] *= ramp
    piece[..., -length:] *= ramp[::-1]
    return piece
