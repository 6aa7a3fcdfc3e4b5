"""Mixtures as a data set gives them: whole for validation, and cut to segments for training without dynamic mixing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unbraid.data.clips import read_source
from unbraid.data.items import Clip, Dataset, Example, Item
from unbraid.errors import DataError
from unbraid.models.contract import ModelSpec
from unbraid.options import PositiveFloat, check_options


@dataclass(frozen=True, kw_only=True)
class GivenMixtures:
    """Training on a data set's own mixtures, each once per round in a new order, at a random place."""

    segment_seconds: PositiveFloat = 3.0
    """What is shorter gets silence at its end."""

    def __post_init__(self) -> None:
        check_options(self)


class GivenDrawer:
    """Draws segments of a data set's own mixtures."""

    def __init__(self, dataset: Dataset, mixing: GivenMixtures, spec: ModelSpec) -> None:
        self.mixing, self.spec = mixing, spec
        self.items = given_items(dataset, spec)
        self.names = match_sources(dataset, spec)
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def draw(self, seed: int, index: int) -> Example:
        generator = np.random.default_rng([seed, index])
        turn, place = divmod(index, len(self.items))
        if self._order is None or self._order[0] != (seed, turn):
            # Another stream than that of the examples, whose numbers have no third part.
            order = np.random.default_rng([seed, turn, 1]).permutation(len(self.items))
            self._order = (seed, turn), order
        item = self.items[int(self._order[1][place])]
        num_samples = round(self.mixing.segment_seconds * self.spec.sample_rate)
        start = int(generator.integers(max(item_length(item, self.spec.sample_rate) - num_samples, 0) + 1))
        return read_example(item, self.names, self.spec, start, num_samples)


def given_items(dataset: Dataset, spec: ModelSpec) -> tuple[Item, ...]:
    """The items that are mixtures."""
    items = tuple(item for item in dataset.items if item.mixture is not None or len(item.sources) > 1)
    if not items:
        raise DataError(
            f"has no mixtures in the split '{dataset.split}', only single sources",
            subject=f"{dataset.root}",
            remedy="mix them dynamically, or name a list of mixtures",
        )
    return items


def match_sources(dataset: Dataset, spec: ModelSpec) -> tuple[str, ...]:
    """For each source of the model, the data set's: by name, or by position where the order means nothing."""
    if not (spec.exchangeable and dataset.exchangeable):
        if not set(spec.sources) & set(dataset.sources):
            raise DataError(
                f"has the sources {', '.join(dataset.sources)}, and the model gives {', '.join(spec.sources)}",
                subject=f"{dataset.root}",
                remedy="rename the sources or choose another data set",
            )
        return spec.sources
    named = [source for source in dataset.sources if source != "noise"]
    if len(named) != spec.num_sources:
        raise DataError(
            f"has {len(named)} speakers in each mixture, and the model gives {spec.num_sources}",
            subject=f"{dataset.root}",
            remedy="choose a model or a data set that fits the other",
        )
    return tuple(named)


def item_length(item: Item, sample_rate: int) -> int:
    """Samples at this rate, rounded down: of the mixture, or of the longest source."""
    clips = [item.mixture] if item.mixture is not None else [c for clips in item.sources.values() for c in clips]
    return max(clip.num_samples * sample_rate // clip.sample_rate for clip in clips)


def read_example(item: Item, names: tuple[str, ...], spec: ModelSpec, start: int, num_samples: int) -> Example:
    """A stretch of an item with the sources of these names, silence beyond its end; all at the spec's rate."""

    def read(clips: tuple[Clip, ...]) -> np.ndarray:
        return read_source(clips, start, num_samples, spec.sample_rate, spec.num_channels)

    sources = {name: read(clips) for name, clips in item.sources.items() if item.mixture is None or name in names}
    if item.mixture is not None:
        mixture = read((item.mixture,))
    else:
        mixture = np.sum(list(sources.values()), axis=0, dtype=np.float32)
    silence = np.zeros_like(mixture)
    return Example(
        torch.from_numpy(mixture),
        torch.from_numpy(np.stack([sources.get(name, silence) for name in names])),
        torch.tensor([name in sources for name in names]),
    )
