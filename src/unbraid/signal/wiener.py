"""A Wiener mask made of a model's own estimates: each source gets of the mixture what its estimate has of the power.

    estimates, mixture -> STFT -> per bin and channel |estimate|^2 / sum of |estimate|^2 -> x mixture -> inverse

What comes out adds up to the mixture in every bin from `from_hz` on. An estimate with a blurred or missing spectrum
gets the mixture's own; below `from_hz` the estimates stay as they are.
"""

from __future__ import annotations

import torch
from einops import rearrange

from unbraid.axes import Float, Tensor
from unbraid.signal.stft import istft, power_spectrum, stft
from unbraid.signal.windows import hann

_WINDOW_SECONDS = 0.032
"""ours: about what speech and music stay the same for."""
_FLOOR = 1e-4
"""ours: part of the mixture's power that every source is believed to have in a bin. Where no estimate has anything, the
mixture is shared out evenly."""
_CROSSOVER_OCTAVES = 0.25
"""ours: over which the mask sets in above `from_hz`."""


def wiener_refine(
    estimates: Float[Tensor, "batch source channel sample"],
    mixture: Float[Tensor, "batch channel sample"],
    sample_rate: int,
    from_hz: float = 0.0,
) -> Float[Tensor, "batch source channel sample"]:
    """The mixture shared out by the powers of the estimates; `from_hz` 0 does so at all frequencies."""
    num_samples = mixture.shape[-1]
    n_fft = max(16, 16 * round(_WINDOW_SECONDS * sample_rate / 16))
    window = hann(n_fft).to(mixture)
    spectra = stft(estimates, n_fft, n_fft // 4, window)
    whole = stft(mixture, n_fft, n_fft // 4, window).unsqueeze(1)
    floor = _FLOOR * power_spectrum(whole) + torch.finfo(whole.dtype).tiny
    powers = power_spectrum(spectra) + floor
    share = (powers / powers.sum(dim=1, keepdim=True)).unsqueeze(-3)
    if from_hz > 0:
        onset = _onset(n_fft, sample_rate, from_hz).to(share)
        refined = torch.addcmul(spectra * (1 - onset), share * onset, whole)
    else:
        refined = share * whole
    return istft(refined, n_fft, n_fft // 4, window, num_samples)


def _onset(n_fft: int, sample_rate: int, from_hz: float) -> Float[Tensor, "freq 1"]:
    """How much of the mask is applied at each frequency: from 0 below `from_hz` to 1 a quarter of an octave above."""
    frequency_hz = torch.fft.rfftfreq(n_fft, 1 / sample_rate)
    octaves = (frequency_hz.clamp_min(1e-3) / from_hz).log2()
    return rearrange((octaves / _CROSSOVER_OCTAVES).clamp(0, 1), "freq -> freq 1")
