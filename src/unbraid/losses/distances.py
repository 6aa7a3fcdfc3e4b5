"""Distances between estimates and references, lower is better, always (estimate, reference) -> one value per source.

Signals are (..., channel, sample); the value pools channels and samples, so the result is (...).
"""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor


def negative_snr(
    estimate: Float[Tensor, "*axes channel sample"], reference: Float[Tensor, "*axes channel sample"], eps: float = 1e-8
) -> Float[Tensor, "*axes"]:
    """-10 log10(|s|^2 / (|e - s|^2 + eps) + eps) in dB, both signals made zero-mean; the scale of the estimate counts.

    The training loss of S4M (as in the TDANet recipe).
    """
    estimate, reference = _zero_mean(estimate), _zero_mean(reference)
    power = reference.square().sum(dim=(-2, -1))
    error = (estimate - reference).square().sum(dim=(-2, -1))
    return -10 * torch.log10(power / (error + eps) + eps)


def negative_si_sdr(
    estimate: Float[Tensor, "*axes channel sample"], reference: Float[Tensor, "*axes channel sample"], eps: float = 1e-8
) -> Float[Tensor, "*axes"]:
    """The negative scale-invariant SDR in dB: the reference is first scaled to fit the estimate best.

    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019; both signals made zero-mean.
    """
    estimate, reference = _zero_mean(estimate), _zero_mean(reference)
    dot = (estimate * reference).sum(dim=(-2, -1), keepdim=True)
    target = (dot + eps) / (reference.square().sum(dim=(-2, -1), keepdim=True) + eps) * reference
    error = (estimate - target).square().sum(dim=(-2, -1))
    return -10 * torch.log10(target.square().sum(dim=(-2, -1)) / (error + eps) + eps)


def _zero_mean(signal: Tensor) -> Tensor:
    return signal - signal.mean(dim=-1, keepdim=True)
