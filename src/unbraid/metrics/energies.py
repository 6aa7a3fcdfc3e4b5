"""What energy ratios are made of, gathered frame by frame, so that a recording of hours is scored in constant memory.

A ratio needs no signals, only sums over them: of the reference, of its square, and of what is wrong with an estimate.
From the sums of every frame come the ratios of the whole and those of any passage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.metrics.pairs import PairSums, check_pair
from unbraid.metrics.song import USDR_DELTA, USDR_EPS, limit_dnr


@dataclass(frozen=True, eq=False, kw_only=True)
class Energies:
    """Sums per frame, in float64. Candidates are the estimates, in order, and then the mixture.

    An error is candidate minus reference. Pairs that cannot be wanted (one stem's estimate with another stem's
    reference) are nan.
    """

    num_samples: int
    """Per channel."""
    frame_samples: int
    """The last frame may be shorter."""
    reference_sum: Float[Tensor, "source channel frame"]
    reference_power: Float[Tensor, "source channel frame"]
    candidate_power: Float[Tensor, "candidate channel frame"]
    error_sum: Float[Tensor, "candidate source channel frame"]
    error_power: Float[Tensor, "candidate source channel frame"]
    error_reference: Float[Tensor, "candidate source channel frame"]
    """Sums of error times reference."""

    def silent(self) -> list[bool]:
        """For every reference, whether all its samples are zero."""
        return (self.reference_power.sum(dim=(1, 2)) == 0).tolist()

    def most_error_at(self, order: Sequence[int], num_frames: int) -> int:
        """The first frame of the `num_frames` together in which the estimates, taken in this order, err most."""
        errors = torch.stack([self.error_power[estimate, source] for source, estimate in enumerate(order)])
        total = errors.sum(dim=(0, 1)).cumsum(0)
        before = torch.cat([total.new_zeros(1), total])
        if len(total) <= num_frames:
            return 0
        return int((before[num_frames:] - before[:-num_frames]).argmax())

    def sums(self) -> PairSums:
        """Over all frames: (candidate, source, channel)."""
        return PairSums(
            num_samples=self.num_samples,
            reference_sum=self.reference_sum.sum(-1),
            reference_power=self.reference_power.sum(-1),
            estimate_power=self.candidate_power.sum(-1).unsqueeze(1),
            error_sum=self.error_sum.sum(-1),
            error_power=self.error_power.sum(-1),
            error_reference=self.error_reference.sum(-1),
        )

    def snr(self) -> Float[Tensor, "candidate source"]:
        """Signal-to-noise ratios in dB, channels pooled."""
        return self.sums().pooled().snr()

    def usdr(self) -> Float[Tensor, "candidate source"]:
        """`metrics.song.usdr` in dB: channels pooled, and a small constant."""
        return self.sums().pooled().snr(floor=USDR_DELTA)

    def usdr_per_channel(self) -> Float[Tensor, "candidate source"]:
        """`metrics.song.usdr_per_channel` in dB: the mean of the channels' ratios."""
        return self.sums().snr(floor=USDR_EPS).mean(-1)

    def dnr_si_sdr(self) -> Float[Tensor, "candidate source"]:
        """`metrics.song.dnr_si_sdr` in dB: means are kept, the mean of the channels' ratios, silence at -80."""
        return limit_dnr(self.sums().si_sdr()).mean(-1)

    def si_sdr(self) -> Float[Tensor, "candidate source"]:
        """Scale-invariant ratios in dB: one scale and one error for all channels, each channel without its mean.

        A silent estimate of a source that sounds is a failure here, -inf, where `metrics.si_sdr` has nan.
        """
        sums = self.sums().centred().pooled()
        failed = (sums.estimate_power == 0) & (sums.reference_power > 0)
        return torch.where(failed, -math.inf, sums.si_sdr())


class EnergyMeter:
    """Gathers `Energies` from blocks that follow each other; all but the last hold whole frames."""

    def __init__(self, frame_samples: int, *, exchangeable: bool) -> None:
        self.frame_samples, self.exchangeable = frame_samples, exchangeable
        self._num_samples = 0
        self._parts: list[tuple[Tensor, ...]] = []

    def push(
        self,
        estimates: Float[Tensor, "source channel sample"],
        references: Float[Tensor, "source channel sample"],
        mixture: Float[Tensor, "channel sample"],
    ) -> None:
        """Takes the next samples; on any device, in any precision."""
        check_pair(estimates, references)
        if self._num_samples % self.frame_samples:
            raise ConfigError("only the last block may end within a frame", remedy="push whole frames before it")
        self._num_samples += references.shape[-1]
        sounding = [self._framed(signal) for signal in references]
        candidates = [self._framed(signal) for signal in (*estimates, mixture)]
        nothing = torch.full_like(sounding[0].sum(-1), math.nan)
        rows = []
        for index, candidate in enumerate(candidates):
            wanted = self.exchangeable or index == len(candidates) - 1
            row = []
            for source, reference in enumerate(sounding):
                if wanted or source == index:
                    error = candidate - reference
                    row.append((error.sum(-1), error.square().sum(-1), (error * reference).sum(-1)))
                else:
                    row.append((nothing, nothing, nothing))
            rows.append(row)
        self._parts.append(
            (
                torch.stack([reference.sum(-1) for reference in sounding]),
                torch.stack([reference.square().sum(-1) for reference in sounding]),
                torch.stack([candidate.square().sum(-1) for candidate in candidates]),
                *(torch.stack([torch.stack([sums[kind] for sums in row]) for row in rows]) for kind in range(3)),
            )
        )

    def finish(self) -> Energies:
        """All that was pushed."""
        if self._num_samples == 0:
            raise ConfigError("signals of 0 samples have no score", remedy="give at least 1 sample")
        sums = [torch.cat(parts, dim=-1).cpu() for parts in zip(*self._parts, strict=True)]
        return Energies(
            num_samples=self._num_samples,
            frame_samples=self.frame_samples,
            reference_sum=sums[0],
            reference_power=sums[1],
            candidate_power=sums[2],
            error_sum=sums[3],
            error_power=sums[4],
            error_reference=sums[5],
        )

    def _framed(self, signal: Tensor) -> Tensor:
        """(channel, frame, sample) in float64, the last frame filled up with zeros, which add nothing to a sum."""
        signal = torch.nn.functional.pad(signal.double(), (0, -signal.shape[-1] % self.frame_samples))
        return signal.unflatten(-1, (-1, self.frame_samples))
