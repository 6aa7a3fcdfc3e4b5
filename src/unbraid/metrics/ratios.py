"""Energy ratios in dB, higher is better. Arguments are always (estimate, reference); signals are (..., sample).

Silence gives finite or infinite values and never an exception: a silent reference scores -inf unless the estimate is
silent too, which scores nan because nothing can be said.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from unbraid.axes import Float, Tensor
from unbraid.metrics.pairs import check_pair, energies, iter_pieces

Metric = Callable[[Tensor, Tensor], Tensor]
"""(estimate, reference) -> one value per signal."""


def snr(estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"]) -> Float[Tensor, "*axes"]:
    """Signal-to-noise ratio |s|^2 / |e - s|^2 in dB; the level of the estimate counts."""
    return ratio_db(*energies(estimate, reference))


def si_sdr(
    estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"], zero_mean: bool = True
) -> Float[Tensor, "*axes"]:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), with the mean taken off by default.

    A silent estimate scores nan: no scale brings it nearer to the reference than any other.
    """
    check_pair(estimate, reference)
    offsets = [
        signal.mean(-1, keepdim=True, dtype=torch.float64) if zero_mean else torch.zeros((), dtype=torch.float64)
        for signal in (estimate, reference)
    ]
    dot = torch.zeros(reference.shape[:-1], dtype=torch.float64, device=reference.device)
    power, error = torch.zeros_like(dot), torch.zeros_like(dot)
    for found, true in iter_pieces(estimate, reference):
        found, true = found - offsets[0], true - offsets[1]
        dot += torch.linalg.vecdot(found, true)
        power += torch.linalg.vecdot(true, true)
    scale = torch.where(power > 0, dot / power, 0)
    for found, true in iter_pieces(estimate, reference):
        rest = (found - offsets[0]) - scale[..., None] * (true - offsets[1])
        error += torch.linalg.vecdot(rest, rest)
    return ratio_db(scale.square() * power, error)


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


def ratio_db(numerator: Tensor, denominator: Tensor) -> Tensor:
    """10 log10(numerator / denominator); inf for a zero denominator, -inf for a zero numerator, nan for both."""
    return 10 * (torch.log10(numerator) - torch.log10(denominator))
