"""Loudness of a programme after ITU-R BS.1770-4 (EBU R 128).

The sound is weighted for the ear, its energy taken in blocks of 400 ms, and quiet blocks do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.signal.lengths import fast_fft_length
from unbraid.signal.recursive_filter import RecursiveFilter

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
_STEPS_AT_ONCE = 40
"""Of 100 ms, in float64: a long signal is filtered piece after piece."""


def loudness(signal: Float[Tensor, "*axes channel sample"], sample_rate: int) -> Float[Tensor, "*axes"]:
    """Integrated loudness in LUFS; -inf for what is silent or below -70 LUFS throughout.

    A recording of less than 400 ms, of which the standard does not speak, is taken as one block. Computed on the CPU.
    """
    if signal.shape[-1] == 0 or sample_rate < 1:
        raise ConfigError(
            f"loudness needs at least 1 sample and a rate in Hz, not {signal.shape[-1]} and {sample_rate}"
        )
    meter = LoudnessMeter(signal.shape[:-1], sample_rate)
    step = _STEPS_AT_ONCE * meter.hop
    for start in range(0, signal.shape[-1], step):
        meter.push(signal[..., start : start + step].detach().cpu())
    return meter.integrated().to(signal.device)


class LoudnessMeter:
    """Takes a programme in blocks of any size; keeps one number per channel and 100 ms of it."""

    def __init__(self, axes: Sequence[int], sample_rate: int) -> None:
        """`axes` are those of the blocks but the last; the last of them is the channels."""
        weights = _WEIGHTS.get(axes[-1], (1.0,) * axes[-1])
        self._weights = torch.tensor(weights, dtype=torch.float64)[:, None]
        self.hop = max(1, round(0.1 * sample_rate))
        """Samples in 100 ms."""
        self._weighting = RecursiveFilter(k_weighting(sample_rate))
        self._energies: list[Tensor] = []
        """Of whole steps of 100 ms, for each channel."""
        self._rest, self._rest_samples = torch.zeros(*axes, dtype=torch.float64), 0
        """Of the step that has begun."""

    def push(self, block: Float[Tensor, "*axes channel sample"]) -> None:
        if block.shape[-1] == 0:
            return
        weighted = self._weighting.push(block)
        first = min(self.hop - self._rest_samples, weighted.shape[-1])
        num_steps = (weighted.shape[-1] - first) // self.hop
        begun, steps, tail = weighted.tensor_split((first, first + num_steps * self.hop), dim=-1)
        self._rest = self._rest + _energy(begun)
        self._rest_samples += first
        if self._rest_samples < self.hop:
            return
        self._energies += [self._rest[..., None], _energy(steps.unflatten(-1, (num_steps, self.hop)))]
        self._rest, self._rest_samples = _energy(tail), tail.shape[-1]

    def integrated(self, gain: float | Tensor = 1.0) -> Float[Tensor, "*axes"]:
        """In LUFS, of the programme so far at that gain (one for all, or one for each channel); -inf for silence."""
        steps = torch.cat([*self._energies, self._rest[..., None]], -1)
        num_samples = self.hop * (steps.shape[-1] - 1) + self._rest_samples
        if steps.shape[-1] <= 4:
            power = steps.sum(-1, keepdim=True) / max(num_samples, 1)
        else:
            power = steps[..., :-1].unfold(-1, 4, 1).sum(-1) / (4 * self.hop)
        return _gated((power * gain**2 * self._weights).sum(-2))


def _energy(samples: Tensor) -> Tensor:
    return torch.linalg.vecdot(samples, samples)


def loudness_by_transform(signal: Float[Tensor, "*axes channel sample"], sample_rate: int) -> Float[Tensor, "*axes"]:
    """As `loudness` for mono and stereo, to a hundredth of a decibel, on the signal's own device.

    The weighting is a product of spectra in float32; a filter that runs from sample to sample is nothing for a GPU.
    """
    num_samples, hop = signal.shape[-1], max(1, round(0.1 * sample_rate))
    # The high-pass rings for a quarter of a second.
    size = fast_fft_length(num_samples + sample_rate // 2)
    response = _response(sample_rate, size, signal.device)
    weighted = torch.fft.irfft(torch.fft.rfft(signal, n=size) * response, n=size)[..., :num_samples]
    if num_samples < 4 * hop:
        power = weighted.square().mean(-1, keepdim=True)
    else:
        steps = weighted[..., : num_samples // hop * hop].unflatten(-1, (-1, hop)).square().mean(-1)
        power = steps.unfold(-1, 4, 1).mean(-1)
    return _gated(power.sum(-2))


@cache
def _response(sample_rate: int, size: int, device: torch.device) -> Tensor:
    """Of the weighting, at the frequencies of a real transform of that size."""
    with torch.inference_mode(False):
        angle = torch.arange(size // 2 + 1, dtype=torch.float64) * (-2j * math.pi / size)
        powers = torch.stack([torch.ones_like(angle), angle.exp(), (2 * angle).exp()])
        sections = k_weighting(sample_rate).to(powers.dtype)
        return ((sections[:, :3] @ powers) / (sections[:, 3:] @ powers)).prod(0).to(torch.complex64).to(device)


def _gated(power: Float[Tensor, "*axes block"]) -> Float[Tensor, "*axes"]:
    """Loudness of blocks of this power: the mean of those that are not quiet."""
    audible = _level(power) > _ABSOLUTE_GATE
    gate = _level(_mean_where(power, audible)) + _RELATIVE_GATE_DB
    return _level(_mean_where(power, audible & (_level(power) > gate[..., None]))).nan_to_num(nan=-math.inf)


def k_weighting(sample_rate: int) -> Float[Tensor, "section 6"]:
    """The two filters of BS.1770 in front of the meter, a high shelf (the head) and a high-pass, as second-order
    sections b0 b1 b2 a0 a1 a2.

    The standard gives coefficients at 48 kHz. They are a bilinear transform of two analogue sections, whose frequencies
    and quality factors (found by B. De Man) give the same filters at every rate. ours: at rates below 3364 Hz, which do
    not reach up to the shelf, there is none.
    """
    sections = [_high_pass(sample_rate)]
    shelf_hz, shelf_quality = 1681.974450955533, 0.7071752369554196
    if 2 * shelf_hz < sample_rate:
        tangent = math.tan(math.pi * shelf_hz / sample_rate)
        high = 10 ** (3.999843853973347 / 20)
        middle = high**0.4996667741545416 * tangent / shelf_quality
        numerator = (high + middle + tangent**2, 2 * (tangent**2 - high), high - middle + tangent**2)
        sections.insert(0, (*numerator, *_denominator(tangent, shelf_quality)))
    table = torch.tensor(sections, dtype=torch.float64)
    return table / table[:, 3:4]


def _high_pass(sample_rate: int) -> tuple[float, ...]:
    cut_hz, cut_quality = 38.13547087602444, 0.5003270373238773
    # The numerator of the standard is 1, -2, 1 after the division by a0, which is this much too large at 48 kHz.
    gain = _denominator(math.tan(math.pi * cut_hz / 48_000), cut_quality)[0]
    return (gain, -2 * gain, gain, *_denominator(math.tan(math.pi * cut_hz / sample_rate), cut_quality))


def _denominator(tangent: float, quality: float) -> tuple[float, float, float]:
    return 1 + tangent / quality + tangent**2, 2 * (tangent**2 - 1), 1 - tangent / quality + tangent**2


def _level(power: Tensor) -> Tensor:
    return _OFFSET_DB + 10 * torch.log10(power)


def _mean_where(power: Tensor, chosen: Tensor) -> Tensor:
    return (power * chosen).sum(-1) / chosen.sum(-1)
