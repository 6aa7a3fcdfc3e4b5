"""How loud a model gets its input, as its spec wants it, and how its estimates come back to the recording's level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import torch

from unbraid.axes import Float, Tensor
from unbraid.models.contract import ModelSpec
from unbraid.separation.channels import gather_group

_TRAINED_LEVEL = 10 ** (-25 / 20)
"""RMS level of training examples."""
_LEAST_DEVIATION = 1e-8
"""Added to the deviation of a file, as Demucs does, so that silence stays finite."""


class InputScale(NamedTuple):
    """A model gets (mixture - offset) / gain, and its estimates become estimate x gain + offset."""

    offset: Float[Tensor, "row 1 1"]
    gain: Float[Tensor, "row 1 1"]


MeasureLevel = Callable[[Float[Tensor, "row channel sample"], Sequence[int]], InputScale]
"""From rows for the model, and the group of channels that each of them is, to their scale."""


def open_level(
    spec: ModelSpec,
    groups: Sequence[tuple[int, ...]],
    first_pass: Callable[[], Iterable[Tensor]],
    wanted: Literal["as-given", "normalised"] | None = None,
) -> MeasureLevel:
    """The level that a spec asks for, or the one that is `wanted` instead.

    Only `whole-file` reads the recording, at the model's rate, from `first_pass`. Networks that were trained with it
    are nothing without it, so that it stays whatever is wanted.
    """
    if spec.level == "whole-file":
        return WholeFile(spec.num_channels, groups, first_pass())
    return normalise if (wanted or spec.level) == "normalised" else leave


def normalise(rows: Float[Tensor, "row channel sample"], groups: Sequence[int]) -> InputScale:
    """Every row at the RMS level of training examples, whatever the level of the recording."""
    gain = rows.square().mean(dim=(1, 2), keepdim=True).sqrt() / _TRAINED_LEVEL
    return InputScale(torch.zeros_like(gain), gain)


def leave(rows: Float[Tensor, "row channel sample"], groups: Sequence[int]) -> InputScale:
    """Rows as they are."""
    gain = rows.new_ones(rows.shape[0], 1, 1)
    return InputScale(torch.zeros_like(gain), gain)


class WholeFile:
    """Mean and deviation of the mono sum of what the model hears together, over the whole recording."""

    def __init__(self, num_channels: int, groups: Sequence[tuple[int, ...]], blocks: Iterable[Tensor]) -> None:
        count, mean = 0, torch.zeros(len(groups), dtype=torch.float64)
        squares = torch.zeros_like(mean)
        for block in blocks:
            if block.shape[-1] == 0:
                continue
            mono = torch.stack([gather_group(block, group, num_channels).double().mean(dim=0) for group in groups])
            # Sums of squares about the mean are joined about the new mean (Chan et al. 1979): nothing cancels.
            size, own = mono.shape[-1], mono.mean(dim=-1)
            away = own - mean
            squares += (mono - own[:, None]).square().sum(dim=-1) + away.square() * (count * size / (count + size))
            mean += away * (size / (count + size))
            count += size
        self.mean = mean.float()
        self.deviation = (squares / max(count - 1, 1)).sqrt().float() + _LEAST_DEVIATION

    def __call__(self, rows: Float[Tensor, "row channel sample"], groups: Sequence[int]) -> InputScale:
        chosen = list(groups)
        return InputScale(self.mean[chosen, None, None], self.deviation[chosen, None, None])
