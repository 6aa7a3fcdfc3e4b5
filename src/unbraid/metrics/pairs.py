"""An estimate beside its reference: of one shape and in double precision, and the sums that ratios are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import SignalError

_PIECE = 2**19
"""Samples of each that are in float64 at once: few enough to stay in a processor's cache."""

_ROUNDING = 1e-13
"""A signal whose energy falls to this share of itself when its mean is taken off was a constant."""


def iter_pieces(estimate: Tensor, reference: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both in float64, piece after piece along the samples; a song of 4 stems would take gigabytes at once."""
    check_pair(estimate, reference)
    size = max(1, _PIECE // max(1, reference[..., 0].numel()))
    for found, true in zip(estimate.split(size, -1), reference.split(size, -1), strict=True):
        yield found.double(), true.double()


def check_pair(estimate: Tensor, reference: Tensor) -> None:
    """Raises SignalError where shapes differ, because broadcasting would compare the wrong things, or are empty."""
    if estimate.shape != reference.shape:
        raise SignalError(
            f"the estimate has the shape {tuple(estimate.shape)} and the reference {tuple(reference.shape)}",
            remedy="give both with the same sources and channels, cut to one length (`signal.lengths.fit_length` does "
            "that)",
        )
    if reference.shape[-1] == 0:
        raise SignalError("signals of 0 samples have no score", remedy="give at least 1 sample")


def ratio_db(numerator: Tensor, denominator: Tensor) -> Tensor:
    """10 log10(numerator / denominator); inf for a zero denominator, -inf for a zero numerator, nan for both."""
    return 10 * (torch.log10(numerator) - torch.log10(denominator))


@dataclass(frozen=True, eq=False, kw_only=True)
class PairSums:
    """All that energy ratios need of estimates and references: sums over samples, in float64, of any shape that
    broadcasts. The error is estimate minus reference. Sums of blocks add up to those of the whole."""

    num_samples: int
    reference_sum: Float[Tensor, "*_"]
    reference_power: Float[Tensor, "*_"]
    estimate_power: Float[Tensor, "*_"]
    error_sum: Float[Tensor, "*_"]
    error_power: Float[Tensor, "*_"]
    error_reference: Float[Tensor, "*_"]
    """Sums of error times reference."""

    @classmethod
    def of(cls, estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"]) -> PairSums:
        """Of whole signals, piece after piece."""
        sums = torch.zeros(6, *reference.shape[:-1], dtype=torch.float64, device=reference.device)
        for found, true in iter_pieces(estimate, reference):
            error = found - true
            products = (torch.linalg.vecdot(*pair) for pair in ((true, true), (found, found), (error, error)))
            sums += torch.stack([true.sum(-1), *products, error.sum(-1), torch.linalg.vecdot(error, true)])
        return cls(
            num_samples=reference.shape[-1],
            reference_sum=sums[0],
            reference_power=sums[1],
            estimate_power=sums[2],
            error_power=sums[3],
            error_sum=sums[4],
            error_reference=sums[5],
        )

    def pooled(self) -> PairSums:
        """The last axis, that of the channels, summed up."""
        return PairSums(
            num_samples=self.num_samples,
            reference_sum=self.reference_sum.sum(-1),
            reference_power=self.reference_power.sum(-1),
            estimate_power=self.estimate_power.sum(-1),
            error_sum=self.error_sum.sum(-1),
            error_power=self.error_power.sum(-1),
            error_reference=self.error_reference.sum(-1),
        )

    def centred(self) -> PairSums:
        """Those of the signals without their means; what is nothing but rounding then is zero."""
        reference, error = self.reference_sum, self.error_sum
        estimate_power = self.estimate_power - (error + reference).square() / self.num_samples
        reference_power = self.reference_power - reference.square() / self.num_samples
        return PairSums(
            num_samples=self.num_samples,
            reference_sum=torch.zeros_like(reference),
            reference_power=torch.where(reference_power > _ROUNDING * self.reference_power, reference_power, 0),
            estimate_power=torch.where(estimate_power > _ROUNDING * self.estimate_power, estimate_power, 0),
            error_sum=torch.zeros_like(error),
            error_power=self.error_power - error.square() / self.num_samples,
            error_reference=self.error_reference - error * reference / self.num_samples,
        )

    def snr(self, floor: float = 0.0) -> Tensor:
        """|s|^2 / |e - s|^2 in dB, `floor` added to both energies."""
        return ratio_db(self.reference_power + floor, self.error_power + floor)

    def si_sdr(self) -> Tensor:
        """The same with the reference scaled to fit best; nan for a silent estimate, which no scale brings nearer.

        From single sums, so that errors are resolved down to about 150 dB below the estimate.
        """
        # Of the error, what lies along the reference belongs to the target, which is the reference times 1 + share.
        sounds = self.reference_power > 0
        share = torch.where(sounds, self.error_reference / self.reference_power, 0)
        residual = (self.error_power - self.error_reference * share).clamp(min=0)
        residual = torch.where(sounds, residual, self.estimate_power)
        ratio = ratio_db((1 + share).square() * self.reference_power, residual)
        return torch.where(self.estimate_power == 0, torch.nan, ratio)
