"""How far the loudness of an estimate is off, after ITU-R BS.1770-4 (EBU R 128)."""

from __future__ import annotations

from unbraid.axes import Float, Tensor
from unbraid.metrics.pairs import check_pair
from unbraid.signal.loudness import loudness


def loudness_error(
    estimate: Float[Tensor, "*axes channel sample"],
    reference: Float[Tensor, "*axes channel sample"],
    sample_rate: int,
) -> Float[Tensor, "*axes"]:
    """How much louder the estimate is than the reference, in LU: 0 is right, -inf a silent estimate.

    inf where the reference is silent and the estimate is not, nan where both are.
    """
    check_pair(estimate, reference)
    return loudness(estimate, sample_rate) - loudness(reference, sample_rate)
