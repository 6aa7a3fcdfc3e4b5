"""Energy ratios in dB, higher is better. Arguments are always (estimate, reference); signals are (..., sample).

Silence gives finite or infinite values and never an exception: a silent reference scores -inf unless the estimate is
silent too, which scores nan because nothing can be said.
"""

from __future__ import annotations

from collections.abc import Callable

from unbraid.axes import Float, Tensor
from unbraid.metrics.pairs import PairSums

Metric = Callable[[Tensor, Tensor], Tensor]
"""(estimate, reference) -> one value per signal."""


def snr(estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"]) -> Float[Tensor, "*axes"]:
    """Signal-to-noise ratio |s|^2 / |e - s|^2 in dB; the level of the estimate counts."""
    return PairSums.of(estimate, reference).snr()


def si_sdr(
    estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"], zero_mean: bool = True
) -> Float[Tensor, "*axes"]:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), with the mean taken off by default.

    A silent estimate scores nan: no scale brings it nearer to the reference than any other.
    """
    sums = PairSums.of(estimate, reference)
    return (sums.centred() if zero_mean else sums).si_sdr()


def si_snr(estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"]) -> Float[Tensor, "*axes"]:
    """Scale-invariant signal-to-noise ratio in dB (Luo and Mesgarani 2018): SI-SDR of signals without their mean."""
    return si_sdr(estimate, reference, zero_mean=True)


def improvement(
    metric: Metric,
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    mixture: Float[Tensor, "... sample"],
) -> Tensor:
    """What the metric gains over taking the mixture for the estimate; the mixture may lack the axis of sources."""
    return metric(estimate, reference) - metric(mixture.expand_as(reference), reference)


def si_sdr_improvement(
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    mixture: Float[Tensor, "... sample"],
) -> Float[Tensor, "*axes"]:
    """How much closer to the reference the estimate is than the mixture was, in dB."""
    return improvement(si_sdr, estimate, reference, mixture)
