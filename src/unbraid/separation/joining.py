"""The way out: from sorted chunks at the model's rate to blocks of stems at the recording's rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unbraid.audio.rate import Resampler
from unbraid.axes import Float, Tensor
from unbraid.separation.events import Block
from unbraid.separation.inputs import Lookback, Reader
from unbraid.separation.stems import StemPlan
from unbraid.signal.chunking import Chunk, ChunkPlan, OverlapAdder
from unbraid.signal.lengths import fit_length


class Joiner:
    """From ordered chunks at the model's rate to blocks of stems at the recording's rate and of its exact length."""

    def __init__(self, plan: ChunkPlan, model_rate: int, stem_plan: StemPlan, reader: Reader) -> None:
        info = reader.info
        self.stem_plan = stem_plan
        self.num_sources, self.num_channels = len(stem_plan.sources), info.num_channels
        self.adder = OverlapAdder(plan)
        self.resampler = Resampler(model_rate, info.sample_rate, self.num_sources * info.num_channels)
        self.position = 0
        self.mixture = Lookback(reader.reopen()) if stem_plan.needs_mixture else None

    def push(self, chunk: Chunk, estimate: Float[Tensor, "source channel sample"], num_samples: int) -> Iterator[Block]:
        """What this chunk finishes; `num_samples` of the recording have been read so far."""
        finished = self.adder.push(estimate, chunk.is_last)
        flat = finished.flatten(0, 1).numpy()
        yield from self._emit(self.resampler.push(np.ascontiguousarray(flat)), num_samples)

    def finish(self, num_samples: int) -> Iterator[Block]:
        """The rest of the recording's `num_samples`."""
        rest = self.resampler.finish()
        yield from self._emit(fit_length(rest, num_samples - self.position), num_samples)

    def close(self) -> None:
        if self.mixture is not None:
            self.mixture.close()

    def _emit(self, flat: np.ndarray, num_samples: int) -> Iterator[Block]:
        # Through two rates, the way there and back may end a few samples late, never early.
        flat = flat[:, : num_samples - self.position]
        if flat.shape[-1] == 0:
            return
        estimates = flat.reshape(self.num_sources, self.num_channels, -1)
        mixture = self.mixture.read(flat.shape[-1]) if self.mixture is not None else None
        yield Block(start_sample=self.position, samples=self.stem_plan.apply(estimates, mixture))
        self.position += flat.shape[-1]
