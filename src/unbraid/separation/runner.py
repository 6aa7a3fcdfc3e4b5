"""One pass of a recording's chunks through the model: groups of channels, level, shifts, batches that fit memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, DeviceError
from unbraid.models.contract import SeparationModel
from unbraid.separation.channels import gather_group, scatter_group
from unbraid.separation.device import is_out_of_memory
from unbraid.separation.level import MeasureLevel
from unbraid.separation.speakers.ordering import align
from unbraid.signal.chunking import Chunk
from unbraid.signal.wiener import wiener_refine

_SILENCE = 1e-7
"""Below this peak (-140 dB) a chunk is silence, and so are its stems; no model is asked."""


class ModelRunner:
    """Asks a model for the estimates of chunks, in its own order of sources."""

    def __init__(
        self,
        model: SeparationModel,
        device: torch.device,
        groups: tuple[tuple[int, ...], ...],
        level: MeasureLevel,
        offsets: Sequence[int],
        refine_from_hz: float | None = None,
    ) -> None:
        """`groups` of channels go through the model together; `offsets` in samples are those of the shifted passes.
        From `refine_from_hz` on the mixture is shared out by the powers of the estimates; None leaves them alone."""
        self.refine_from_hz = refine_from_hz
        self.model, self.device, self.spec = model, device, model.spec
        self.groups, self.level, self.offsets = groups, level, offsets
        self.seconds = 0.0
        """Wall time spent in the model so far."""

    def run(self, batch: list[Chunk]) -> Iterator[tuple[Chunk, Float[Tensor, "source channel sample"]]]:
        """Chunks through the model, together where they are equally long."""
        lengths = {chunk.samples.shape[-1] for chunk in batch}
        if len(lengths) > 1:
            yield from self.run(batch[:-1])
            yield from self.run(batch[-1:])
            return
        began = time.perf_counter()
        # Channels that are equal, as in a mono recording stored in stereo, go through the model once.
        single = all(bool((chunk.samples == chunk.samples[:1]).all()) for chunk in batch)
        used = self.groups[:1] if single else self.groups
        rows = torch.stack(
            [gather_group(chunk.samples, group, self.spec.num_channels) for chunk in batch for group in used]
        )
        estimates = self._estimate(rows, [*range(len(used))] * len(batch)).unflatten(0, (len(batch), len(used)))
        self.seconds += time.perf_counter() - began
        num_channels = sum(len(group) for group in self.groups)
        for chunk, estimate in zip(batch, estimates, strict=True):
            if single:
                yield chunk, estimate[0].mean(dim=1, keepdim=True).expand(-1, num_channels, -1)
                continue
            whole = estimate.new_empty(self.spec.num_sources, num_channels, estimate.shape[-1])
            for group, part in zip(self.groups, estimate, strict=True):
                whole[:, list(group)] = scatter_group(part, group)
            yield chunk, whole

    def _estimate(
        self, rows: Float[Tensor, "row channel sample"], groups: list[int]
    ) -> Float[Tensor, "row source channel sample"]:
        """The model at the level it wants, averaged over shifts; silence is not asked for."""
        result = rows.new_zeros(rows.shape[0], self.spec.num_sources, *rows.shape[1:])
        heard = rows.abs().amax(dim=(1, 2)) > _SILENCE
        if not heard.any():
            return result
        mixture = rows[heard]
        offset, gain = self.level(mixture, [group for group, one in zip(groups, heard, strict=True) if one])
        scaled = (mixture - offset) / gain
        total = self._call(scaled)
        count = torch.ones(scaled.shape[-1])
        for shift in self.offsets:
            if shift >= scaled.shape[-1]:
                continue
            shifted = self._call(scaled[..., shift:])
            if self.spec.exchangeable:
                shifted = torch.stack(
                    [new[list(align(new, old[..., shift:]))] for new, old in zip(shifted, total, strict=True)]
                )
            total[..., shift:] += shifted
            count[shift:] += 1
        mean = total / count
        if self.refine_from_hz is not None:
            mean = wiener_refine(mean, scaled, self.spec.sample_rate, self.refine_from_hz)
        result[heard] = mean * gain.unsqueeze(1) + offset.unsqueeze(1)
        return result

    def _call(self, rows: Float[Tensor, "row channel sample"]) -> Float[Tensor, "row source channel sample"]:
        """One call of the model; out of memory, the rows are halved until a single one does not fit."""
        # Whoever has switched gradients off already, as a trainer that validates, keeps the way in which it did so.
        without_gradients = torch.inference_mode() if torch.is_grad_enabled() else torch.no_grad()
        try:
            with evaluating(self.model), without_gradients:
                estimates = self.model(rows.to(self.device)).float().cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if rows.shape[0] == 1:
                raise DeviceError(
                    f"a chunk of {rows.shape[-1] / self.spec.sample_rate:.1f} s does not fit into the memory of "
                    f"{self.device}",
                    remedy='choose smaller `segment_seconds`, or `device="cpu"`',
                ) from error
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        else:
            expected = (rows.shape[0], self.spec.num_sources, *rows.shape[1:])
            if tuple(estimates.shape) != expected:
                raise ConfigError(
                    f"{type(self.model).__name__} gives estimates of shape {tuple(estimates.shape)} and its spec "
                    f"promises {expected}",
                    remedy="mend one of them",
                )
            return estimates.clone()  # out of inference mode, so that it may be changed in place
        half = rows.shape[0] // 2
        return torch.cat([self._call(rows[:half]), self._call(rows[half:])])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode for as long as the block lasts; every module is then in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
