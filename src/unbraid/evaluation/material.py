"""What measures are taken of: one track with its estimates, by the sums over it, in blocks, or whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from unbraid.axes import Float, Tensor
from unbraid.evaluation.tracks import Track
from unbraid.files.scratch import make_array
from unbraid.metrics.energies import Energies
from unbraid.metrics.framewise import FrameScores, framewise_bss_eval
from unbraid.separation.process import release_freed_memory

FRAME_SECONDS = 1.0
"""Length of the frames of museval, which do not overlap."""
PASSAGE_SECONDS = 10.0
"""ours: of each track the stretch of this length with the most error is found, for whoever wants to hear it."""
BLOCK_SECONDS = 8.0
"""ours: so much of a track is in memory at a time."""


@runtime_checkable
class Estimated(Protocol):
    """The estimates of one track."""

    def read(self, start: int, num_samples: int) -> np.ndarray:
        """(source, channel, sample) float32, at the track's rate."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """All that a measure may want to know of one track. Estimates come in the order of the sources."""

    track: Track
    sources: tuple[str, ...]
    """What is scored."""
    order: tuple[int, ...]
    """For every source the estimate that was taken for it."""
    energies: Energies
    estimated: Estimated

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Estimates, references and mixture, in blocks of whole frames."""
        rate = self.track.sample_rate
        size = round(BLOCK_SECONDS / FRAME_SECONDS) * round(FRAME_SECONDS * rate)
        for start in range(0, self.track.num_samples, size):
            if start:
                release_freed_memory()
            yield self._read(start, min(size, self.track.num_samples - start))

    @cached_property
    def whole(
        self,
    ) -> tuple[
        Float[Tensor, "source channel sample"], Float[Tensor, "source channel sample"], Float[Tensor, "channel sample"]
    ]:
        """The same in one piece; on disk where the track is long, which the metrics read a part at a time."""
        size = (self.track.num_channels, self.track.num_samples)
        arrays = (make_array((len(self.sources), *size)), make_array((len(self.sources), *size)), make_array(size))
        start = 0
        for parts in self.blocks():
            end = start + parts[2].shape[-1]
            for array, part in zip(arrays, parts, strict=True):
                array[..., start:end] = part.numpy()
            start = end
        estimates, references, mixture = (torch.from_numpy(array) for array in arrays)
        return estimates, references, mixture

    @cached_property
    def bss_eval_v4(self) -> FrameScores:
        """The four ratios of museval, which come together."""
        estimates, references, _ = self.whole
        return framewise_bss_eval(estimates, references, window=round(FRAME_SECONDS * self.track.sample_rate))

    def _read(self, start: int, num_samples: int) -> tuple[Tensor, Tensor, Tensor]:
        estimates = self.estimated.read(start, num_samples)[list(self.order)]
        references = self.track.read_references(self.sources, start, num_samples)
        mixture = self.track.read_mixture(start, num_samples)
        return torch.from_numpy(estimates), torch.from_numpy(references), torch.from_numpy(mixture)
