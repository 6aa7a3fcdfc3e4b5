"""The multi-loss of SFSRNet: every block's estimate is compared at a sampling rate of its own, low rates first.

J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022. The mean of the
losses of all blocks; each block looks for its own best permutation.

How an estimate at the full rate meets a source at a low rate can be read in two ways, which `reading` names:
* "both": estimate and source are both resampled to the block's rate. What lies above half of it pulls nothing.
* "target": only the source is band-limited, and stays at the full rate. Early blocks learn to leave high tones out.

The paper's loss is the mean over the blocks plus, with weight 1, the loss of what super-resolution makes of the last.
Without it, the last block's estimate is one of those that are averaged.

Resampling is exact for what repeats over the segment: bins of its discrete Fourier transform are kept or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from unbraid.axes import Bool, Float, Tensor
from unbraid.errors import ConfigError
from unbraid.losses.weighted import Loss, WeightedLoss
from unbraid.options import PositiveInt, check_options

PAPER_RATES_HZ = (500, 1000, 2000, 3000, 4000, 5000, 8000, 8000)
"""Of the eight blocks, for audio of 8 kHz."""


def rising_rates(num_blocks: int, sample_rate: int) -> tuple[int, ...]:
    """A rate in Hz per block, ending at the full one: the paper's for eight blocks, scaled to `sample_rate`.

    ours: other numbers of blocks pick from the paper's eight rates at equal distances, the last one included.
    """
    last = len(PAPER_RATES_HZ) - 1
    picks = [round(last * block / (num_blocks - 1)) for block in range(num_blocks)] if num_blocks > 1 else [last]
    return tuple(PAPER_RATES_HZ[pick] * sample_rate // 8000 for pick in picks)


@dataclass(frozen=True, kw_only=True)
class MultiLossConfig:
    """What is asked of the intermediate estimates of a model."""

    rates: Literal["rising", "same"] | tuple[PositiveInt, ...] = "rising"
    """Rates at which the blocks are compared: the paper's, the full rate for all, or one in Hz for each block."""

    reading: Literal["both", "target"] = "both"
    """Whether estimate and source are compared at the block's rate, or only the source is band-limited to it."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.rates:
            raise ConfigError("multi_loss.rates has one rate per block, not none")

    def rates_hz(self, num_blocks: int, sample_rate: int) -> tuple[int, ...]:
        """One rate per block; raises ConfigError where the rates given are not that."""
        if self.rates == "rising":
            return rising_rates(num_blocks, sample_rate)
        rates = (sample_rate,) * num_blocks if self.rates == "same" else self.rates
        if len(rates) != num_blocks:
            raise ConfigError(
                f"{num_blocks} estimates and {len(rates)} rates: give multi_loss.rates one rate per block"
            )
        if max(rates) > sample_rate:
            raise ConfigError(f"a rate of {max(rates)} Hz is above the {sample_rate} Hz of the audio: lower it")
        return rates


class MultiRateLoss:
    """Mean of the losses of all blocks, each at its own rate and with its own assignment of the sources."""

    def __init__(self, config: MultiLossConfig, loss: WeightedLoss, sample_rate: int, *, refines: bool = False) -> None:
        """`refines`: the last estimate is not a block's but refines the last block's; its loss is added."""
        self.config, self.loss, self.sample_rate, self.refines = config, loss, sample_rate, refines

    def __call__(
        self,
        estimates: Sequence[Float[Tensor, "batch source channel sample"]],
        reference: Float[Tensor, "batch source channel sample"],
        mixture: Float[Tensor, "batch channel sample"],
        present: Bool[Tensor, "batch source"] | None = None,
    ) -> Loss:
        """The parts are the losses "block1", "block2", ... and, where there is one, "refined"."""
        blocks = estimates[:-1] if self.refines else estimates
        rates = self.config.rates_hz(len(blocks), self.sample_rate)
        losses = [
            self.loss(*self._at_rate(rate, estimate, reference, mixture), present)
            for estimate, rate in zip(blocks, rates, strict=True)
        ]
        total = torch.stack([loss.total for loss in losses]).mean()
        parts = {f"block{number}": loss.total.detach() for number, loss in enumerate(losses, start=1)}
        if self.refines:
            refined = self.loss(estimates[-1], reference, mixture, present)
            losses.append(refined)
            total, parts["refined"] = total + refined.total, refined.total.detach()
        teach = [loss.teaches for loss in losses if loss.teaches is not None]
        return Loss(total, parts, torch.stack(teach).any() if teach else None)

    def _at_rate(
        self, rate: int, estimate: Tensor, reference: Tensor, mixture: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All three as they are compared at a rate."""
        change = resample if self.config.reading == "both" else band_limit
        reference, mixture = (change(signal, self.sample_rate, rate) for signal in (reference, mixture))
        return resample(estimate, self.sample_rate, rate) if change is resample else estimate, reference, mixture


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
