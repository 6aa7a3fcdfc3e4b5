"""An estimate beside its reference: of one shape and in double precision, or refused with a sentence."""

from __future__ import annotations

from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import SignalError


def as_pair(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64. Raises SignalError where shapes differ, because broadcasting would compare the wrong things."""
    check_pair(estimate, reference)
    return estimate.double(), reference.double()


def check_pair(estimate: Tensor, reference: Tensor) -> None:
    """Raises SignalError where the shapes differ or there is not a sample."""
    if estimate.shape != reference.shape:
        raise SignalError(
            f"the estimate has the shape {tuple(estimate.shape)} and the reference {tuple(reference.shape)}: "
            "give both with the same sources and channels and cut them to the same length (`fit_length` does that)"
        )
    if reference.shape[-1] == 0:
        raise SignalError("signals of 0 samples have no score: give at least 1 sample")


def fit_length(estimate: Float[Tensor, "*axes given"], num_samples: int) -> Float[Tensor, "*axes sample"]:
    """Cuts the end off, or puts zeros there, as museval does with estimates of another length than the reference."""
    missing = num_samples - estimate.shape[-1]
    return F.pad(estimate, (0, missing)) if missing > 0 else estimate[..., :num_samples]
