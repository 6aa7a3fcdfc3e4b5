"""Batches without end from recordings on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Dataset as MapDataset
from torch.utils.data import IterableDataset

from unbraid.data.items import Dataset, Example
from unbraid.data.mixing.drawing import GivenMixtures, Mixing, SpeakerMixing
from unbraid.data.resident.speakers import ResidentSpeakers
from unbraid.data.resident.stems import ResidentStems
from unbraid.errors import ConfigError
from unbraid.models.contract import ModelSpec

ResidentDrawer = ResidentSpeakers | ResidentStems


def build_resident_drawer(
    dataset: Dataset, mixing: Mixing, spec: ModelSpec, device: torch.device | str
) -> ResidentDrawer:
    """Decodes the whole data set, two bytes a sample, onto the device."""
    if isinstance(mixing, GivenMixtures):
        raise ConfigError("`resident` draws mixtures; the ones that a data set gives are read as they come")
    device = torch.device(device)
    if isinstance(mixing, SpeakerMixing):
        return ResidentSpeakers(dataset, mixing, spec, device)
    return ResidentStems(dataset, mixing, spec, device)


class ResidentStream(IterableDataset[Example]):
    """Batches from number `start` of the run on; batch n of a rank is a function of seed, n and rank."""

    def __init__(self, drawer: ResidentDrawer, seed: int, batch_size: int, start: int = 0, rank: int = 0) -> None:
        self.drawer, self.seed, self.batch_size, self.start, self.rank = drawer, seed, batch_size, start, rank

    def __iter__(self) -> Iterator[Example]:
        batch = self.start
        while True:
            with torch.no_grad():
                example = self.drawer.draw(self.batch_size, self.seed, batch, self.rank)
            yield example  # outside, or whoever asks for it would learn nothing until the next one
            batch += 1


class ResidentExamples(MapDataset[Example]):
    """The first `count` examples of a drawer, always the same ones: to validate with."""

    def __init__(self, drawer: ResidentDrawer, seed: int, count: int) -> None:
        self.drawer, self.seed, self.count = drawer, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return Example(*(part[0] for part in self.drawer.draw(1, self.seed, index)))
