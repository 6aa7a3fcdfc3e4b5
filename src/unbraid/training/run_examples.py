"""Where a run's examples come from: the stream to train on and the items to validate with."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as MapDataset

from unbraid.data.clips import clips_of, refuse_truncated
from unbraid.data.combining import rename_sources
from unbraid.data.items import Dataset, Example, MissingRecordingsError, Split
from unbraid.data.lists.bundled import bundled_lists, find_list
from unbraid.data.lists.scenes import holds_scenes, read_scenes
from unbraid.data.lists.speaker_pairs import read_list
from unbraid.data.loaders import (
    DrawnExamples,
    ExampleStream,
    GivenExamples,
    ListedExamples,
    SceneExamples,
    build_loader,
)
from unbraid.data.mixing.drawing import Drawer, build_drawer
from unbraid.data.open import open_dataset
from unbraid.data.resident.drawing import ResidentDrawer, ResidentExamples, ResidentStream, build_resident_drawer
from unbraid.errors import ConfigError
from unbraid.models.contract import ModelSpec
from unbraid.training.config import TrainingConfig

_VALIDATION_SEED = 20_260_000
"""Of mixtures that are drawn for validation: the same in every run, whatever its own seed."""


class Examples:
    """The data of one run, opened on first use."""

    def __init__(self, config: TrainingConfig, spec: ModelSpec, root: Path) -> None:
        self.config, self.spec, self.root = config, spec, root
        self._resident: ResidentDrawer | None = None

    def _open(self, split: Split) -> Dataset:
        names = dict(pair.split(":", 1) for pair in self.config.rename)
        layout = self.config.layout
        if split == "valid" and self.config.validation.layout is not None:
            layout = self.config.validation.layout
        dataset = open_dataset(self.root, split, layout)
        refuse_truncated(clips_of(dataset))
        return rename_sources(dataset, names) if names else dataset

    @cached_property
    def _train(self) -> Dataset:
        return self._open("train")

    @cached_property
    def _valid(self) -> tuple[MapDataset[Example], str]:
        """The items and what they are."""
        dataset, config, instead = self._open("valid"), self.config.validation, ""
        if config.list_name is not None:
            path = find_list(config.list_name)
            if path is None:
                known = ", ".join(bundled_lists())
                raise ConfigError(f"validation.list_name: there is no list '{config.list_name}'; there are: {known}")
            try:
                if holds_scenes(path):
                    listed = SceneExamples(dataset, read_scenes(path)[: config.items], self.spec)
                else:
                    listed = ListedExamples(dataset, read_list(path)[: config.items], self.spec)
                return listed, f"{len(listed)} mixtures of the list '{config.list_name}'"
            except MissingRecordingsError as error:
                # Other data than the list's has items of its own. The list's own data with holes would be scored on
                # other mixtures than every run before.
                if error.has_some:
                    raise
                instead = f", because nothing of the list '{config.list_name}' is there"
        if all(item.mixture is None and len(item.sources) == 1 for item in dataset.items):
            if self.config.resident:
                drawer = build_resident_drawer(dataset, self.config.mixing, self.spec, "cpu")
                resident = ResidentExamples(drawer, _VALIDATION_SEED, config.items)
                return resident, f"{len(resident)} mixtures drawn once from the split 'valid'{instead}"
            drawn = DrawnExamples(dataset, self.config.mixing, self.spec, _VALIDATION_SEED, config.items)
            return drawn, f"{len(drawn)} mixtures drawn once from the split 'valid'{instead}"
        given = GivenExamples(dataset, self.spec, limit=config.items)
        return given, f"{len(given)} items of the split 'valid'{instead}"

    def describe_validation(self) -> str:
        """On what the run is validated, for the user to read."""
        return self._valid[1]

    @cached_property
    def _drawer(self) -> Drawer:
        """One for the whole run: it keeps what it has decoded."""
        return build_drawer(self._train, self.config.mixing, self.spec)

    def train_loader(
        self, start: int, rank: int, world_size: int, device: torch.device | str = "cpu"
    ) -> DataLoader[Example]:
        """Batches from number `start` on, for one of several processes, on that device where all sounds lie there."""
        config = self.config
        assert config.batch_size != "auto"
        if config.resident:
            if self._resident is None:
                self._resident = build_resident_drawer(self._train, config.mixing, self.spec, device)
            return build_loader(ResidentStream(self._resident, config.seed, config.batch_size, start, rank))
        stream = ExampleStream(self._drawer, config.seed, config.batch_size, start, rank, world_size)
        return build_loader(stream, config.num_workers, pin_memory=torch.cuda.is_available())

    def valid_loader(self, rank: int, world_size: int) -> DataLoader[Example]:
        """Whole items, shared out among the processes."""
        items, _ = self._valid
        return DataLoader(Subset(items, range(rank, len(items), world_size)), batch_size=None)  # type: ignore[arg-type]
