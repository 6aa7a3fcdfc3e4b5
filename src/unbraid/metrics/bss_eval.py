"""SDR, SIR and SAR of BSS eval for mono sources (E. Vincent, R. Gribonval and C. Fevotte 2006), in dB.

The reference may be filtered by 512 taps before it is compared, so that colouring and short delays are forgiven. The
values equal `bss_eval_sources` of mir_eval and of fast_bss_eval. Music has its own form, see `framewise`.

A silent reference scores -inf, a silent estimate nan; nothing raises on silence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from unbraid.axes import Float, Int, Tensor
from unbraid.metrics.assignment import best_assignment
from unbraid.metrics.pairs import check_pair, ratio_db
from unbraid.metrics.projection import correlate, cross_vector, factorise, gram_matrix
from unbraid.metrics.ratios import improvement

TAPS = 512


class BssEval(NamedTuple):
    """One value per reference, in dB."""

    sdr: Float[Tensor, " source"]
    """Filtered reference over all that is wrong."""
    sir: Float[Tensor, " source"]
    """Filtered reference over what other references explain."""
    sar: Float[Tensor, " source"]
    """What the references explain together over what they do not."""
    order: Int[Tensor, " source"]
    """For each reference the estimate that was taken for it."""


def sdr(
    estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"], taps: int = TAPS
) -> Float[Tensor, "*axes"]:
    """SDR of BSS eval: each estimate against its own reference, no permutation."""
    check_pair(estimate, reference)
    num_samples = reference.shape[-1]
    pairs = zip(estimate.reshape(-1, 1, num_samples), reference.reshape(-1, 1, num_samples), strict=True)
    explained = []
    for one, target in pairs:
        correlations = correlate(target, (target, one), taps)
        explained.append(_explained(correlations[:, :1], correlations[:, 1:], _energy(one))[0])
    found = torch.stack(explained) if explained else reference.new_zeros(0, dtype=torch.float64)
    return ratio_db(found, 1 - found).reshape(reference.shape[:-1])


def sdr_improvement(
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    mixture: Float[Tensor, "... sample"],
) -> Float[Tensor, "*axes"]:
    """How much higher the SDR of the estimate is than that of the mixture, in dB."""
    return improvement(sdr, estimate, reference, mixture)


def bss_eval_sources(
    estimate: Float[Tensor, "source sample"],
    reference: Float[Tensor, "source sample"],
    permute: bool = True,
    taps: int = TAPS,
) -> BssEval:
    """SDR, SIR and SAR of all sources together, under the assignment with the highest mean SIR unless told not to."""
    check_pair(estimate, reference)
    num_sources = len(reference)
    correlations = correlate(reference, (reference, estimate), taps)
    among, across = correlations[:, :num_sources], correlations[:, num_sources:]
    energy = _energy(estimate)
    own = torch.stack([_explained(among[i : i + 1, i : i + 1], across[i : i + 1], energy) for i in range(num_sources)])
    together = _explained(among, across, energy)
    # What one reference explains lies within what all do: the rest of that is interference.
    sir = ratio_db(own, (together - own).clamp(min=0))
    order = best_assignment(sir.T) if permute else torch.arange(num_sources, device=reference.device)
    row = torch.arange(num_sources, device=reference.device)
    own, together = own[row, order], together[order]
    return BssEval(ratio_db(own, 1 - own), sir[row, order], ratio_db(together, 1 - together), order)


def _explained(among: Tensor, across: Tensor, energy: Tensor) -> Tensor:
    """The share of each estimate's energy that lies in the span of the delayed references, from 0 to 1."""
    whitened = torch.linalg.solve_triangular(factorise(gram_matrix(among)), cross_vector(across), upper=False)
    return (whitened.square().sum(0) / energy).clamp(0, 1)


def _energy(signal: Tensor) -> Tensor:
    """In pieces: a copy of everything in float64 would be the largest thing in memory."""
    return torch.stack([part.double().square().sum(-1) for part in signal.split(2**20, -1)]).sum(0)
