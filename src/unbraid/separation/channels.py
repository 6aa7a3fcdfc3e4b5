"""Fits recordings of any channel layout to models of one or two channels, and their estimates back to the layout."""

from __future__ import annotations

from unbraid.axes import Float, Tensor

_PAIRS = {
    # In the order of WAV files: left, right, centre, low frequencies, then pairs at the back and at the sides.
    6: ((0, 1), (2,), (3,), (4, 5)),
    8: ((0, 1), (2,), (3,), (4, 5), (6, 7)),
}


def plan_groups(num_channels: int, model_channels: int) -> tuple[tuple[int, ...], ...]:
    """Which channels go through the model together: one by one, or in left-right pairs."""
    if model_channels == 1:
        return tuple((channel,) for channel in range(num_channels))
    if model_channels == 2 and num_channels in _PAIRS:
        return _PAIRS[num_channels]
    return tuple(
        tuple(range(first, min(first + model_channels, num_channels)))
        for first in range(0, num_channels, model_channels)
    )


def gather_group(
    chunk: Float[Tensor, "channel sample"], group: tuple[int, ...], model_channels: int
) -> Float[Tensor, "model_channel sample"]:
    """The channels of a group; a group with too few repeats its last one, as mono is played on two loudspeakers."""
    indices = list(group) + [group[-1]] * (model_channels - len(group))
    return chunk[indices]


def scatter_group(
    estimate: Float[Tensor, "source model_channel sample"], group: tuple[int, ...]
) -> Float[Tensor, "source channel sample"]:
    """The estimate for a group's own channels; what the model made of a repeated channel is averaged into it."""
    last = len(group) - 1
    if estimate.shape[1] == len(group):
        return estimate
    kept = estimate[:, : len(group)].clone()
    kept[:, last] = estimate[:, last:].mean(dim=1)
    return kept
