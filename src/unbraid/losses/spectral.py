"""Distances between spectrograms at several resolutions at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch

from unbraid.axes import Float, Tensor
from unbraid.options import check_option
from unbraid.signal.stft import stft
from unbraid.signal.windows import hann

Compared = Literal["magnitude", "complex"]


def multi_resolution_stft(
    estimate: Float[Tensor, "*#axes channel sample"],
    reference: Float[Tensor, "*#axes channel sample"],
    windows_samples: Sequence[int] = (2048, 1024, 512),
    compare: Compared = "magnitude",
    eps: float = 1e-5,
) -> Float[Tensor, "*#axes"]:
    """Mean distance of the spectrograms with windows of these lengths, each advancing by a quarter.

    "magnitude": spectral convergence plus mean absolute difference of log magnitudes (R. Yamamoto et al., "Parallel
    WaveGAN", ICASSP 2020); magnitudes are not below `eps`, which keeps silence finite. "complex": mean absolute
    difference of real and imaginary parts, which sees phase as well (as in BS-RoFormer, W.-T. Lu et al., 2024).
    """
    check_option("compare", compare, Compared)
    total = torch.zeros((), device=estimate.device)
    for window_samples in windows_samples:
        window = _window(window_samples, estimate.device)
        ours = stft(estimate, window_samples, window_samples // 4, window)
        theirs = stft(reference, window_samples, window_samples // 4, window)
        if compare == "complex":
            total = total + (ours - theirs).abs().mean(dim=(-4, -3, -2, -1))
        else:
            total = total + _magnitude_distance(_magnitude(ours, eps), _magnitude(theirs, eps), eps)
    return total / len(windows_samples)


# A GPU would wait for what is copied to it, so that it is copied once.
@cache
def _window(num_samples: int, device: torch.device) -> Float[Tensor, " sample"]:
    with torch.inference_mode(False):
        return hann(num_samples).to(device)


def _magnitude(spectrum: Float[Tensor, "*axes channel part freq frame"], eps: float) -> Tensor:
    return spectrum.square().sum(dim=-3).clamp(min=eps**2).sqrt()


def _magnitude_distance(ours: Tensor, theirs: Tensor, eps: float) -> Tensor:
    over = (-3, -2, -1)
    # Both sums hold at least eps^2 per bin, so neither root has an infinite slope.
    missed = ((ours - theirs).square().sum(dim=over) + eps**2).sqrt()
    convergence = missed / theirs.square().sum(dim=over).sqrt()
    return convergence + (ours.log() - theirs.log()).abs().mean(dim=over)
