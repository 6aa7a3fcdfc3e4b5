"""Examples as torch data sets: an endless stream to train on, and whole mixtures to validate on."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info
from torch.utils.data import Dataset as MapDataset

from unbraid.data.items import ACCOMPANIMENT, Dataset, Example
from unbraid.data.lists.scenes import HIDDEN_BY_ACCOMPANIMENT, Scene, find_recordings, read_scene
from unbraid.data.lists.speaker_pairs import ListedMixture, find_listed, read_listed
from unbraid.data.mixing.drawing import Drawer, Mixing, build_drawer
from unbraid.data.mixing.given_mixtures import given_items, item_length, match_sources, read_example
from unbraid.errors import ConfigError
from unbraid.models.contract import ModelSpec


class ExampleStream(IterableDataset[Example]):
    """Batches of training examples without end, from batch number `start` of the run on.

    Batch n of the whole run holds the examples from n * batch_size * world_size on, and rank r has its r-th part of
    them, whatever the number of worker processes. Examples shorter than the longest of their batch get silence at the
    end.
    """

    def __init__(
        self,
        drawer: Drawer,
        seed: int,
        batch_size: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or start < 0 or not 0 <= rank < world_size:
            raise ConfigError(f"there is no batch {start} of {batch_size} examples on rank {rank} of {world_size}")
        self.drawer, self.seed = drawer, seed
        self.batch_size, self.start, self.rank, self.world_size = batch_size, start, rank, world_size

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        number, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        batch = self.start + number
        while True:
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield join_examples([self.drawer.draw(self.seed, first + place) for place in range(self.batch_size)])
            batch += stride


class DrawnExamples(MapDataset[Example]):
    """The first `count` examples of a mixing, always the same ones: to validate where a data set gives no mixtures."""

    def __init__(self, dataset: Dataset, mixing: Mixing, spec: ModelSpec, seed: int, count: int) -> None:
        self.drawer, self.seed, self.count = build_drawer(dataset, mixing, spec), seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.drawer.draw(self.seed, index)


class GivenExamples(MapDataset[Example]):
    """A data set's own mixtures, whole, in its order.

    `limit` takes so many from the head, `max_seconds` the beginning of each.
    """

    def __init__(
        self, dataset: Dataset, spec: ModelSpec, limit: int | None = None, max_seconds: float | None = None
    ) -> None:
        self.items = given_items(dataset, spec)[:limit]
        self.names, self.spec, self.max_seconds = match_sources(dataset, spec), spec, max_seconds

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        item, rate = self.items[index], self.spec.sample_rate
        num_samples = item_length(item, rate)
        if self.max_seconds is not None:
            num_samples = min(num_samples, round(self.max_seconds * rate))
        return read_example(item, self.names, self.spec, 0, num_samples)


class SceneExamples(MapDataset[Example]):
    """The scenes of a fixed list, whole."""

    def __init__(self, dataset: Dataset, scenes: list[Scene], spec: ModelSpec) -> None:
        there = {source for scene in scenes for source in scene.sources}
        # Bass and other may be in an accompaniment, and a list may have songs without one of them.
        if unknown := set(spec.sources) - (there | set(HIDDEN_BY_ACCOMPANIMENT) if ACCOMPANIMENT in there else there):
            raise ConfigError(
                f"the list has no {', '.join(sorted(unknown))}, which the model gives", remedy="choose another"
            )
        self.scenes, self.spec, self.recordings = scenes, spec, find_recordings(dataset, scenes)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Example:
        return read_scene(self.scenes[index], self.recordings, self.spec)


class ListedExamples(MapDataset[Example]):
    """The mixtures of a fixed list of two speakers, whole."""

    def __init__(self, dataset: Dataset, mixtures: list[ListedMixture], spec: ModelSpec) -> None:
        if spec.num_sources != 2:
            raise ConfigError(f"lists hold mixtures of two speakers, and the model gives {spec.num_sources} sources")
        self.mixtures, self.spec, self.clips = mixtures, spec, find_listed(dataset, mixtures)

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> Example:
        return read_listed(self.mixtures[index], self.clips, self.spec)


def join_examples(examples: Sequence[Example]) -> Example:
    """A batch of them; those that are shorter than the longest get silence at the end."""
    longest = max(example.mixture.shape[-1] for example in examples)

    def stack(tensors: list[torch.Tensor]) -> torch.Tensor:
        if any(tensor.shape[-1] < longest for tensor in tensors):
            tensors = [torch.nn.functional.pad(tensor, (0, longest - tensor.shape[-1])) for tensor in tensors]
        # In a worker this stacks straight into the memory that the training process reads.
        return default_collate(tensors)

    return Example(
        stack([example.mixture for example in examples]),
        stack([example.references for example in examples]),
        torch.stack([example.present for example in examples]),
    )


def build_loader(
    examples: IterableDataset[Example] | DrawnExamples | GivenExamples | ListedExamples | SceneExamples,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Example]:
    """Batches of a stream, or batches of one of the others, prepared by so many processes of one thread each."""
    stream = isinstance(examples, IterableDataset)
    return DataLoader(
        examples,
        batch_size=None if stream else 1,
        collate_fn=None if stream else join_examples,
        num_workers=num_workers,
        pin_memory=pin_memory,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=_begin_worker,
    )


def _begin_worker(number: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C is for the training process, which saves and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
