"""The multi-loss of SFSRNet: every block's estimate is compared at a sampling rate of its own, low rates first.

J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022. The mean of the
losses of all blocks; each block looks for its own best permutation.

How an estimate at the full rate meets a source at a low rate can be read in two ways, which `reading` names:
* "both": estimate and source are both resampled to the block's rate. What lies above half of it pulls nothing.
* "target": only the source is band-limited, and stays at the full rate. Early blocks learn to leave high tones out.

Resampling is exact for what repeats over the segment: bins of its discrete Fourier transform are kept or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.losses.distances import negative_si_sdr
from unbraid.losses.permutation import Distance, best_permutation

PAPER_RATES_HZ = (500, 1000, 2000, 3000, 4000, 5000, 8000, 8000)
"""Of the eight blocks, for audio of 8 kHz."""


def rising_rates(num_blocks: int, sample_rate: int) -> tuple[int, ...]:
    """A rate in Hz per block, ending at the full one: the paper's for eight blocks, scaled to `sample_rate`.

    ours: other numbers of blocks pick from the paper's eight rates at equal distances, the last one included.
    """
    last = len(PAPER_RATES_HZ) - 1
    picks = [round(last * block / (num_blocks - 1)) for block in range(num_blocks)] if num_blocks > 1 else [last]
    return tuple(PAPER_RATES_HZ[pick] * sample_rate // 8000 for pick in picks)


def multi_rate(
    estimates: Sequence[Float[Tensor, "batch source channel sample"]],
    reference: Float[Tensor, "batch source channel sample"],
    rates_hz: Sequence[int],
    sample_rate: int,
    reading: Literal["both", "target"] = "both",
    distance: Distance = negative_si_sdr,
) -> Float[Tensor, " batch"]:
    """Mean over the blocks of the permutation-invariant distance at each block's rate.

    Raises ConfigError unless there is one rate per estimate and none is above `sample_rate`.
    """
    if len(estimates) != len(rates_hz):
        raise ConfigError(f"{len(estimates)} estimates and {len(rates_hz)} rates: give one rate per block")
    if max(rates_hz) > sample_rate:
        raise ConfigError(f"a rate of {max(rates_hz)} Hz is above the {sample_rate} Hz of the audio")
    losses = []
    for estimate, rate in zip(estimates, rates_hz, strict=True):
        if reading == "both":
            pair = resample(estimate, sample_rate, rate), resample(reference, sample_rate, rate)
        else:
            pair = estimate, band_limit(reference, sample_rate, rate)
        losses.append(best_permutation(distance, *pair)[0])
    return torch.stack(losses).mean(dim=0)


def resample(
    signal: Float[Tensor, "*axes sample"], sample_rate: int, lower_rate: int
) -> Float[Tensor, "*axes resampled"]:
    """The signal at a lower rate, round(samples * lower_rate / sample_rate) long."""
    num_samples = signal.shape[-1]
    length = max(1, round(num_samples * lower_rate / sample_rate))
    if length >= num_samples:
        return signal
    spectrum = torch.fft.rfft(signal.float())[..., : length // 2 + 1]
    return torch.fft.irfft(spectrum, n=length) * (length / num_samples)


def band_limit(
    signal: Float[Tensor, "*axes sample"], sample_rate: int, lower_rate: int
) -> Float[Tensor, "*axes sample"]:
    """The signal at its own rate, without what lies from half of the lower rate upwards."""
    if lower_rate >= sample_rate:
        return signal
    spectrum = torch.fft.rfft(signal.float())
    kept = -(-signal.shape[-1] * lower_rate // (2 * sample_rate))
    return torch.fft.irfft(
        torch.where(torch.arange(spectrum.shape[-1], device=signal.device) < kept, spectrum, 0), n=signal.shape[-1]
    )
