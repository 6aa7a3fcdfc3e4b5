"""Examples as torch data sets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from unbraid.data.corpus import SpeechCorpus
from unbraid.data.mixing import ListedMixture, SpeakerMixing, build_mixture, draw_mixture


class MixtureStream(IterableDataset[torch.Tensor]):
    """Batches of references (batch, source, 1, sample), without end, from batch number `start` on.

    Batch n holds the examples n * batch_size onwards whatever the number of workers.
    """

    def __init__(self, corpus: SpeechCorpus, mixing: SpeakerMixing, seed: int, batch_size: int, start: int = 0) -> None:
        self.corpus, self.mixing, self.seed = corpus, mixing, seed
        self.batch_size, self.start = batch_size, start

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker = get_worker_info()
        number, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        batch = self.start + number
        while True:
            first = batch * self.batch_size
            references = [
                torch.from_numpy(draw_mixture(self.corpus, self.mixing, self.seed, index)).unsqueeze(1)
                for index in range(first, first + self.batch_size)
            ]
            yield torch.stack(references)
            batch += stride


class ListedMixtures(Dataset[torch.Tensor]):
    """References (source, 1, sample) of a fixed list, at full length."""

    def __init__(self, corpus: SpeechCorpus, mixtures: list[ListedMixture]) -> None:
        self.corpus, self.mixtures = corpus, mixtures

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(build_mixture(self.corpus, self.mixtures[index])).unsqueeze(1)


def stream_loader(stream: MixtureStream, num_workers: int) -> DataLoader[torch.Tensor]:
    return DataLoader(stream, batch_size=None, num_workers=num_workers, persistent_workers=False)


def listed_loader(listed: ListedMixtures) -> DataLoader[torch.Tensor]:
    return DataLoader(listed, batch_size=1)
