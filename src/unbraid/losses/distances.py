"""Distances of estimates from references, lower is better: (estimate, reference[, mixture]) -> a value per source.

Signals are (..., channel, sample) and the result is (...); leading axes of size 1 are repeated. Channels and samples
are pooled unless a docstring says otherwise.
"""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor


def negative_snr(
    estimate: Float[Tensor, "*#axes channel sample"],
    reference: Float[Tensor, "*#axes channel sample"],
    eps: float = 1e-8,
) -> Float[Tensor, "*#axes"]:
    """-10 log10(|s|^2 / (|e - s|^2 + eps) + eps) in dB, both signals made zero-mean; the scale of the estimate counts.

    The training loss of S4M (as in the TDANet recipe).
    """
    estimate, reference = _zero_mean(estimate), _zero_mean(reference)
    error = (estimate - reference).square().sum(dim=(-2, -1))
    return -10 * torch.log10(_energy(reference) / (error + eps) + eps)


def negative_si_sdr(
    estimate: Float[Tensor, "*#axes channel sample"],
    reference: Float[Tensor, "*#axes channel sample"],
    eps: float = 1e-8,
) -> Float[Tensor, "*#axes"]:
    """The negative scale-invariant SDR in dB: the reference is first scaled to fit the estimate best.

    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019; both signals made zero-mean.
    """
    estimate, reference = _zero_mean(estimate), _zero_mean(reference)
    dot = (estimate * reference).sum(dim=(-2, -1), keepdim=True)
    target = (dot + eps) / (reference.square().sum(dim=(-2, -1), keepdim=True) + eps) * reference
    error = (estimate - target).square().sum(dim=(-2, -1))
    return -10 * torch.log10(_energy(target) / (error + eps) + eps)


def thresholded_snr(
    estimate: Float[Tensor, "*#axes channel sample"],
    reference: Float[Tensor, "*#axes channel sample"],
    mixture: Float[Tensor, "*#axes channel sample"],
    snr_max_db: float = 30.0,
    inactive_weight: float = 0.1,
    active_above_db: float = -60.0,
    eps: float = 1e-8,
) -> Float[Tensor, "*#axes"]:
    """Negative SNR in dB that stops pulling at `snr_max_db` and knows silent references; mean over the channels.

    A reference above `active_above_db` relative to the mixture is active:
        10 log10(|e - s|^2 + 10^(-snr_max/10) |s|^2 + eps) - 10 log10(|s|^2 + eps)
    and every other one is inactive, where the estimate is to be silent:
        inactive_weight * 10 log10(|e - s|^2 + 10^(-snr_max/10) |mixture|^2 + eps)
    The training loss of SFC (K. Saijo, Y. Bando, 2026).
    """
    power, mixture_power = reference.square().sum(-1), mixture.square().sum(-1)
    error = (estimate - reference).square().sum(-1)
    share = 10 ** (-snr_max_db / 10)
    # The comparison stands without logarithms, so that silence needs no special case.
    active = power >= 10 ** (active_above_db / 10) * (mixture_power + eps)
    floor = share * torch.where(active, power, mixture_power)
    level = 10 * torch.log10(error + floor + eps)
    return torch.where(active, level - 10 * torch.log10(power + eps), inactive_weight * level).mean(-1)


def waveform_l1(
    estimate: Float[Tensor, "*#axes channel sample"], reference: Float[Tensor, "*#axes channel sample"]
) -> Float[Tensor, "*#axes"]:
    """Mean absolute difference of the samples."""
    return (estimate - reference).abs().mean(dim=(-2, -1))


def waveform_l2(
    estimate: Float[Tensor, "*#axes channel sample"], reference: Float[Tensor, "*#axes channel sample"]
) -> Float[Tensor, "*#axes"]:
    """Mean squared difference of the samples."""
    return (estimate - reference).square().mean(dim=(-2, -1))


def mixture_consistency(
    estimate: Float[Tensor, "batch source channel sample"],
    mixture: Float[Tensor, "batch 1 channel sample"],
    eps: float = 1e-8,
) -> Float[Tensor, " batch"]:
    """What the sum of the estimates leaves of the mixture, in dB relative to the mixture.

    One value per example, since it does not ask which estimate belongs to whom. For data whose mixture is the sum of
    the references, without noise.
    """
    error = (estimate.sum(dim=1, keepdim=True) - mixture).square().sum(dim=(-2, -1))
    return 10 * torch.log10((error + eps) / (_energy(mixture) + eps)).squeeze(1)


def _energy(signal: Tensor) -> Tensor:
    return signal.square().sum(dim=(-2, -1))


def _zero_mean(signal: Tensor) -> Tensor:
    return signal - signal.mean(dim=-1, keepdim=True)
