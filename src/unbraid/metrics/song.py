"""One value for a whole song: the uSDR of music separation and the two ratios of the DnR data set, in dB.

Two forms of uSDR are in use and differ by tenths of a dB on stereo. The challenges (MDX, SDX) pool the channels: one
ratio of energies over both. The SFC paper takes a ratio for each channel and then the mean, so a quiet channel counts
as much as a loud one. Both add a small constant, so that silence has a finite score.
"""

from __future__ import annotations

from unbraid.axes import Float, Tensor
from unbraid.metrics.pairs import PairSums
from unbraid.metrics.ratios import si_sdr

USDR_DELTA = 1e-7
USDR_EPS = 1e-8
DNR_LIMIT_DB = 80.0


def usdr(
    estimate: Float[Tensor, "*axes channel sample"],
    reference: Float[Tensor, "*axes channel sample"],
    delta: float = USDR_DELTA,
) -> Float[Tensor, "*axes"]:
    """Channel-pooled uSDR of the SDX challenges: (|s|^2 + delta) / (|e - s|^2 + delta) over all channels, in dB."""
    return PairSums.of(estimate, reference).pooled().snr(floor=delta)


def usdr_per_channel(
    estimate: Float[Tensor, "*axes channel sample"],
    reference: Float[Tensor, "*axes channel sample"],
    eps: float = USDR_EPS,
) -> Float[Tensor, "*axes"]:
    """uSDR of the SFC paper: the mean over channels of (|s|^2 + eps) / (|e - s|^2 + eps), each in dB."""
    return PairSums.of(estimate, reference).snr(floor=eps).mean(-1)


def dnr_snr(
    estimate: Float[Tensor, "*axes channel sample"], reference: Float[Tensor, "*axes channel sample"]
) -> Float[Tensor, "*axes"]:
    """SNR as reported on Divide and Remaster: `usdr_per_channel` under its name there."""
    return usdr_per_channel(estimate, reference)


def dnr_si_sdr(
    estimate: Float[Tensor, "*axes channel sample"], reference: Float[Tensor, "*axes channel sample"]
) -> Float[Tensor, "*axes"]:
    """SI-SDR as reported on Divide and Remaster: means are kept, each channel lies within 80 dB of 0, silence at -80.

    The mean over channels of what fast_bss_eval gives with clamp_db=80.
    """
    return limit_dnr(si_sdr(estimate, reference, zero_mean=False)).mean(-1)


def limit_dnr(values: Tensor) -> Tensor:
    """Within 80 dB of 0, and what is not defined, silence, at the lower end."""
    return values.nan_to_num(nan=-DNR_LIMIT_DB).clamp(-DNR_LIMIT_DB, DNR_LIMIT_DB)
