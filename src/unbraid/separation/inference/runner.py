"""One pass of a recording's chunks through the model: groups of channels, level, and averages over views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import torch

from unbraid.axes import Float, Tensor
from unbraid.models.contract import SeparationModel
from unbraid.separation.channels import gather_group, scatter_group
from unbraid.separation.inference.model_calls import ModelCalls, Request
from unbraid.separation.level import MeasureLevel
from unbraid.separation.speakers.ordering import align
from unbraid.signal.chunking import Chunk
from unbraid.signal.wiener import wiener_refine

_SILENCE = 1e-7
"""Below this peak (-140 dB) a chunk is silence, and so are its stems; no model is asked."""

Separated = Iterator[tuple[Chunk, Float[Tensor, "source channel sample"]]]


@dataclass(frozen=True)
class View:
    """How one of several passes hears a mixture. A model should make the same of each: what differs is error."""

    shift: int
    """Samples that it begins later."""

    upside_down: bool
    swapped: bool
    """Whether the channels of stereo change places."""

    def hear(self, mixture: Float[Tensor, "row channel sample"]) -> Float[Tensor, "row channel later"]:
        later = mixture[..., self.shift :]
        later = later.flip(1) if self.swapped else later
        return -later if self.upside_down else later

    def undo(self, estimates: Float[Tensor, "row source channel sample"]) -> Float[Tensor, "row source channel sample"]:
        """Estimates as they would be of the mixture as it is, from the shift on."""
        estimates = estimates.flip(2) if self.swapped else estimates
        return -estimates if self.upside_down else estimates


def plan_views(shifts: Sequence[int], num_channels: int) -> list[View]:
    """The mixture as it is, then every second one upside down, and of stereo each two of four with channels swapped."""
    return [
        View(shift, upside_down=index % 2 == 1, swapped=num_channels == 2 and index % 4 >= 2)
        for index, shift in enumerate((0, *shifts))
    ]


class ModelRunner:
    """Asks a model for the estimates of chunks, in its own order of sources."""

    def __init__(
        self,
        model: SeparationModel,
        calls: ModelCalls,
        groups: tuple[tuple[int, ...], ...],
        level: MeasureLevel,
        offsets: Sequence[int],
        refine_from_hz: float | None = None,
    ) -> None:
        """`groups` of channels go through the model together; `offsets` in samples are those of the further passes.
        From `refine_from_hz` on the mixture is shared out by the powers of the estimates; None leaves them alone."""
        self.refine_from_hz = refine_from_hz
        self.model, self.calls, self.spec = model, calls, model.spec
        self.groups, self.level, self.views = groups, level, plan_views(offsets, model.spec.num_channels)
        self.seconds = 0.0
        """Wall time of the model so far."""

    def begin(self, batch: list[Chunk]) -> Callable[[], Separated]:
        """Chunks on their way to the model, together where they are equally long; what is returned waits for them.

        Channels that are equal, as in a mono recording stored in stereo, go through it once. Each chunk is looked at
        by itself, so that its estimates do not depend on its neighbours in the batch.
        """
        kinds = [(chunk.samples.shape[-1], _is_mono(chunk.samples)) for chunk in batch]
        alike = groupby(zip(kinds, batch, strict=True), key=itemgetter(0))
        parts = [self._begin_alike([chunk for _, chunk in members], single=kind[1]) for kind, members in alike]
        return lambda: (separated for part in parts for separated in part())

    def _begin_alike(self, batch: list[Chunk], *, single: bool) -> Callable[[], Separated]:
        """Chunks of one length with all channels or, `single`, with one for all."""
        used = self.groups[:1] if single else self.groups
        rows = torch.stack(
            [gather_group(chunk.samples, group, self.spec.num_channels) for chunk in batch for group in used]
        )
        finish = self._begin(rows, [*range(len(used))] * len(batch), len(batch))
        return lambda: self._scatter(batch, finish().unflatten(0, (len(batch), len(used))), single=single)

    def _scatter(
        self, batch: list[Chunk], estimates: Float[Tensor, "chunk group source channel sample"], *, single: bool
    ) -> Separated:
        num_channels = sum(len(group) for group in self.groups)
        for chunk, estimate in zip(batch, estimates, strict=True):
            if single:
                yield chunk, estimate[0].mean(dim=1, keepdim=True).expand(-1, num_channels, -1)
                continue
            whole = estimate.new_empty(self.spec.num_sources, num_channels, estimate.shape[-1])
            for group, part in zip(self.groups, estimate, strict=True):
                whole[:, list(group)] = scatter_group(part, group)
            yield chunk, whole

    def _begin(
        self, rows: Float[Tensor, "row channel sample"], groups: list[int], num_chunks: int
    ) -> Callable[[], Float[Tensor, "row source channel sample"]]:
        """The model at the level it wants, averaged over shifts; silence is not asked for."""
        result = rows.new_zeros(rows.shape[0], self.spec.num_sources, *rows.shape[1:])
        heard = rows.abs().amax(dim=(1, 2)) > _SILENCE
        if not heard.any():
            return lambda: result
        mixture = rows[heard]
        offset, gain = self.level(mixture, [group for group, one in zip(groups, heard, strict=True) if one])
        scaled = (mixture - offset) / gain
        views = [view for view in self.views if view.shift < scaled.shape[-1]]
        asked = [self.calls.submit(self.model, view.hear(scaled), num_chunks) for view in views]

        def finish() -> Tensor:
            mean = self._mean(views, [self._received(request) for request in asked])
            if self.refine_from_hz is not None:
                mean = wiener_refine(mean, scaled, self.spec.sample_rate, self.refine_from_hz)
            scaled_back = mean * gain.unsqueeze(1) + offset.unsqueeze(1)
            if heard.all():
                return scaled_back
            result[heard] = scaled_back
            return result

        return finish

    def _received(self, request: Request) -> Float[Tensor, "row source channel sample"]:
        answer = request.future.result()
        self.seconds += answer.seconds
        return answer.estimates

    def _mean(self, views: list[View], passes: list[Tensor]) -> Float[Tensor, "row source channel sample"]:
        """Of the first pass, over all samples, and of those that begin later."""
        total, *others = passes
        if not others:
            return total
        count = torch.ones(total.shape[-1])
        for view, seen in zip(views[1:], others, strict=True):
            shift, shifted = view.shift, view.undo(seen)
            if self.spec.exchangeable:
                shifted = torch.stack(
                    [new[list(align(new, old[..., shift:]))] for new, old in zip(shifted, total, strict=True)]
                )
            total[..., shift:] += shifted
            count[shift:] += 1
        return total / count


def _is_mono(samples: Float[Tensor, "channel sample"]) -> bool:
    """Whether all channels are equal."""
    return samples.shape[0] == 1 or bool((samples == samples[:1]).all())
