"""What estimate and reference have in common as spectrograms, where phase does not count.

Frames are centred on multiples of the hop, with zeros around the signal, under a periodic Hann window. The sizes are
ours: 2048 and 512 samples are 46 ms and 12 ms at 44.1 kHz; take 512 and 128 for speech at 8 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.metrics.pairs import check_pair, ratio_db
from unbraid.signal.lengths import stretch
from unbraid.signal.windows import build_window

_GROUP = 2**21
"""Samples of windowed frames that are transformed together."""


def spectrogram_snr(
    estimate: Float[Tensor, "*axes sample"], reference: Float[Tensor, "*axes sample"], n_fft: int = 2048, hop: int = 512
) -> Float[Tensor, "*axes"]:
    """SNR of magnitude spectrograms in dB: |S|^2 / (|E| - |S|)^2, summed over frequencies and frames.

    ours: the SFC paper uses a ratio of this name and does not say whether its spectra are complex; complex ones would
    give the SNR of the waveforms again.
    """
    power, error = _zeros_like_axes(reference), _zeros_like_axes(reference)
    for found, true in _magnitudes(estimate, reference, n_fft, hop):
        power += true.square().sum((-2, -1))
        error += (found - true).square().sum((-2, -1))
    return ratio_db(power, error)


def log_spectral_distance(
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    n_fft: int = 2048,
    hop: int = 512,
    eps: float = 1e-10,
) -> Float[Tensor, "*axes"]:
    """Log-spectral distance, lower is better: the rms over frequencies of log10(|S|^2 / |E|^2), averaged over frames.

    In powers of ten, as work on super-resolution reports it; times 10 it is in dB. `eps` (ours) is added to both
    powers, so that silence has a finite distance.
    """
    total, num_frames = _zeros_like_axes(reference), 0
    for found, true in _magnitudes(estimate, reference, n_fft, hop):
        ratio = torch.log10((true.square() + eps) / (found.square() + eps))
        total += ratio.square().mean(-1).sqrt().sum(-1)
        num_frames += true.shape[-2]
    return total / num_frames


def _magnitudes(estimate: Tensor, reference: Tensor, n_fft: int, hop: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Groups of frames (..., frame, freq) of both signals."""
    check_pair(estimate, reference)
    if n_fft < 2 or not 1 <= hop <= n_fft:
        raise ConfigError(
            f"n_fft {n_fft} and hop {hop} do not cover the signal", remedy="take n_fft from 2 and hop up to n_fft"
        )
    num_samples = reference.shape[-1]
    num_frames = num_samples // hop + 1
    together = max(1, _GROUP // (n_fft * max(1, reference[..., 0].numel())))
    window = build_window("hann", n_fft).to(reference.device, torch.float64)
    for first in range(0, num_frames, together):
        last = min(first + together, num_frames) - 1
        part = first * hop - n_fft // 2, last * hop + n_fft - n_fft // 2
        frames = (stretch(signal, *part).unfold(-1, n_fft, hop) for signal in (estimate, reference))
        found, true = (torch.fft.rfft(one * window).abs() for one in frames)
        yield found, true


def _zeros_like_axes(signal: Tensor) -> Tensor:
    return torch.zeros(signal.shape[:-1], dtype=torch.float64, device=signal.device)
