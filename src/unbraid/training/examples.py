"""Where a run's examples come from: the stream to train on and the items to validate with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from unbraid.data.corpus import load_corpus
from unbraid.data.items import Example
from unbraid.data.loaders import ListedMixtures, MixtureStream
from unbraid.data.mixing import draw_mixture, read_list
from unbraid.models.contract import ModelSpec
from unbraid.training.config import TrainingConfig

LISTS = Path(__file__).parents[1] / "data" / "lists"

_VALIDATION_SEED = 20_260_000
"""Of mixtures that are drawn for validation: the same in every run, whatever its own seed."""


class Examples:
    """The data of one run, opened on first use."""

    def __init__(self, config: TrainingConfig, spec: ModelSpec, root: Path) -> None:
        self.config, self.spec, self.root = config, spec, root

    def train_loader(self, start: int, rank: int, world_size: int) -> DataLoader[Example]:
        """Batches from number `start` on, for one of several processes."""
        config = self.config
        assert config.batch_size != "auto"
        corpus = load_corpus(self.root, "train", self.spec.sample_rate)
        stream = MixtureStream(corpus, config.mixing, config.seed, config.batch_size * world_size, start=start)
        shard = _Batches(stream, rank * config.batch_size, config.batch_size)
        return DataLoader(shard, batch_size=None, num_workers=config.num_workers)

    def valid_loader(self, rank: int, world_size: int) -> DataLoader[Example]:
        """Whole items, shared out among the processes."""
        corpus = load_corpus(self.root, "valid", self.spec.sample_rate)
        name, count = self.config.validation.list_name, self.config.validation.items
        mixtures = read_list(LISTS / f"{name}.csv")[:count] if name else []
        if mixtures and all(path in corpus.by_path for one in mixtures for path in (one.first, one.second)):
            listed = ListedMixtures(corpus, mixtures)
            read = listed.__getitem__
        else:
            read = lambda index: torch.from_numpy(  # noqa: E731
                draw_mixture(corpus, self.config.mixing, _VALIDATION_SEED, index)
            ).unsqueeze(1)
        items = _Items(read, count if not mixtures else len(mixtures))
        return DataLoader(Subset(items, range(rank, len(items), world_size)), batch_size=None)


class _Batches(IterableDataset[Example]):
    def __init__(self, stream: MixtureStream, first: int, count: int) -> None:
        self.stream, self.first, self.count = stream, first, count

    def __iter__(self) -> Iterator[Example]:
        for references in self.stream:
            mine = references[self.first : self.first + self.count]
            yield Example(mine.sum(dim=1), mine, torch.ones(mine.shape[:2], dtype=torch.bool))


class _Items(Dataset[Example]):
    def __init__(self, read, count: int) -> None:
        self.read, self.count = read, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        references = self.read(index)
        return Example(references.sum(dim=0), references, torch.ones(len(references), dtype=torch.bool))
