"""Loudness of a programme and how far an estimate is off, after ITU-R BS.1770-4 (EBU R 128).

The sound is weighted for the ear, its energy taken in blocks of 400 ms, and quiet blocks are left out.
"""

from __future__ import annotations

import math

import torch

from unbraid.axes import Complex, Float, Tensor
from unbraid.errors import ConfigError
from unbraid.metrics.pairs import check_pair
from unbraid.signal.lengths import fast_fft_length, stretch

_OFFSET_DB = -0.691
"""Takes back what the weighting adds at 1 kHz, so that a full-scale sine there reads -3.01 in one channel."""
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE_DB = -10.0
_SURROUND = 1.41
_WEIGHTS = {
    4: (1.0, 1.0, _SURROUND, _SURROUND),
    5: (1.0, 1.0, 1.0, _SURROUND, _SURROUND),
    6: (1.0, 1.0, 1.0, 0.0, _SURROUND, _SURROUND),
}
"""By number of channels: quadraphonic, 5.0, and 5.1 with its low-frequency channel fourth; otherwise all count 1."""


def loudness(signal: Float[Tensor, "*axes channel sample"], sample_rate: int) -> Float[Tensor, "*axes"]:
    """Integrated loudness in LUFS; -inf for what is silent or below -70 LUFS throughout.

    A recording of less than 400 ms, which the standard leaves out, is taken as one block.
    """
    if signal.shape[-1] == 0 or sample_rate < 1:
        raise ConfigError(
            f"loudness needs at least 1 sample and a rate in Hz, not {signal.shape[-1]} and {sample_rate}"
        )
    num_channels = signal.shape[-2]
    weights = torch.tensor(_WEIGHTS.get(num_channels, (1.0,) * num_channels), dtype=torch.float64, device=signal.device)
    power = (_block_power(signal, sample_rate) * weights[:, None]).sum(-2)
    audible = _level(power) > _ABSOLUTE_GATE
    gate = _level(_mean_where(power, audible)) + _RELATIVE_GATE_DB
    return _level(_mean_where(power, audible & (_level(power) > gate[..., None]))).nan_to_num(nan=-math.inf)


def loudness_error(
    estimate: Float[Tensor, "*axes channel sample"],
    reference: Float[Tensor, "*axes channel sample"],
    sample_rate: int,
) -> Float[Tensor, "*axes"]:
    """How much louder the estimate is than the reference, in LU: 0 is right, -inf a silent estimate.

    inf where the reference is silent and the estimate is not, nan where both are.
    """
    check_pair(estimate, reference)
    return loudness(estimate, sample_rate) - loudness(reference, sample_rate)


def k_weighting(frequency_hz: Float[Tensor, " freq"], sample_rate: int) -> Complex[Tensor, " freq"]:
    """Frequency response of the two filters of BS.1770 in front of the meter: a high shelf (the head) and a high-pass.

    The standard gives coefficients at 48 kHz. They are a bilinear transform of two analogue sections, whose frequencies
    and quality factors (found by B. De Man) give the same filters at every rate.
    """
    angle = math.pi / sample_rate
    shelf = 1j * torch.tan(angle * frequency_hz) / math.tan(angle * 1681.974450955533)
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    head = (high * shelf**2 + middle * shelf / 0.7071752369554196 + 1) / (shelf**2 + shelf / 0.7071752369554196 + 1)
    low = 1j * torch.tan(angle * frequency_hz) / math.tan(angle * 38.13547087602444)
    cut = low**2 / (low**2 + low / 0.5003270373238773 + 1)
    # The standard's high-pass has the numerator 1, -2, 1, which is this much too large at 48 kHz.
    ratio = math.tan(math.pi * 38.13547087602444 / 48_000)
    return head * cut * (1 + ratio / 0.5003270373238773 + ratio**2)


def _block_power(signal: Tensor, sample_rate: int) -> Tensor:
    """Mean square of the weighted signal in blocks of 400 ms that begin every 100 ms: (..., channel, block)."""
    num_samples = signal.shape[-1]
    hop = max(1, round(0.1 * sample_rate))
    whole = num_samples < 4 * hop
    num_steps = 1 if whole else num_samples // hop
    step = num_samples if whole else hop
    # The high-pass rings for a moment: half a second later nothing of it is left in float64.
    history, together = sample_rate // 2 + 1, min(num_steps, 40)
    n_fft = fast_fft_length(2 * history + together * step)
    frequency = torch.fft.rfftfreq(n_fft, 1 / sample_rate, dtype=torch.float64, device=signal.device)
    # The tangent has no value at half the rate; a hair below it, it is large enough.
    response = k_weighting(frequency.clamp(max=sample_rate * (0.5 - 1e-9)), sample_rate)
    steps = []
    for first in range(0, num_steps, together):
        count = min(together, num_steps - first)
        part = stretch(signal, first * step - history, (first + count) * step)
        weighted = torch.fft.irfft(torch.fft.rfft(part, n_fft) * response, n_fft)
        kept = weighted[..., history : history + count * step].unflatten(-1, (count, step))
        steps.append(torch.linalg.vecdot(kept, kept) / step)
    power = torch.cat(steps, -1)
    return power if whole else power.unfold(-1, 4, 1).mean(-1)


def _level(power: Tensor) -> Tensor:
    return _OFFSET_DB + 10 * torch.log10(power)


def _mean_where(power: Tensor, chosen: Tensor) -> Tensor:
    return (power * chosen).sum(-1) / chosen.sum(-1)
