"""An estimate beside its reference: of one shape and in double precision, or refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unbraid.axes import Tensor
from unbraid.errors import SignalError

_PIECE = 2**19
"""Samples of each that are in float64 at once: few enough to stay in a processor's cache."""


def iter_pieces(estimate: Tensor, reference: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both in float64, piece after piece along the samples; a song of 4 stems would take gigabytes at once."""
    check_pair(estimate, reference)
    size = max(1, _PIECE // max(1, reference[..., 0].numel()))
    for found, true in zip(estimate.split(size, -1), reference.split(size, -1), strict=True):
        yield found.double(), true.double()


def energies(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """|s|^2 and |e - s|^2 over the samples."""
    power = torch.zeros(reference.shape[:-1], dtype=torch.float64, device=reference.device)
    error = torch.zeros_like(power)
    for found, true in iter_pieces(estimate, reference):
        difference = found - true
        power += torch.linalg.vecdot(true, true)
        error += torch.linalg.vecdot(difference, difference)
    return power, error


def check_pair(estimate: Tensor, reference: Tensor) -> None:
    """Raises SignalError where shapes differ, because broadcasting would compare the wrong things, or are empty."""
    if estimate.shape != reference.shape:
        raise SignalError(
            f"the estimate has the shape {tuple(estimate.shape)} and the reference {tuple(reference.shape)}: "
            "give both with the same sources and channels, cut to one length (`signal.lengths.fit_length` does that)"
        )
    if reference.shape[-1] == 0:
        raise SignalError("signals of 0 samples have no score: give at least 1 sample")
