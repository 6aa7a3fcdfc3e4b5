"""What super-resolution puts back: spectrograms of every estimate without it and with it, above and below a split.

After figure 4 of J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022.
A model without super-resolution shows its estimates alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.models.contract import SeparationModel
from unbraid.models.super_resolution.network import SuperResolution
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.signal.stft import Stft

_WINDOW_SECONDS = 0.032
_LEAST_POWER = 1e-12


@dataclass(frozen=True, kw_only=True)
class StemSpectrogram:
    """One estimate. Levels are in dB, 0 where the mixture is loudest."""

    name: str

    with_db: np.ndarray
    """(freq, frame), as the model gives it."""

    without_db: np.ndarray | None
    """The same before super-resolution; None where there is none."""

    changed_db: tuple[float, float] | None
    """Power of what super-resolution changed over that of the estimate, below and above the split."""


@dataclass(frozen=True, kw_only=True)
class RefinementAnalysis:
    """All estimates of a recording."""

    mixture_db: np.ndarray
    """(freq, frame)."""

    stems: tuple[StemSpectrogram, ...]

    split_hz: float

    bin_hz: float

    frame_seconds: float

    @property
    def split_bin(self) -> int:
        """The first bin above the split."""
        return round(self.split_hz / self.bin_hz)


def analyse_refinement(
    model: SeparationModel, mixture: Float[Tensor, "channel sample"], split_hz: float | None = None
) -> RefinementAnalysis:
    """Separates a mixture of the model's rate and channels.

    The split is that of the model's network by default, or half of the band. Raises ConfigError where it lies outside.
    """
    rate = model.spec.sample_rate
    split_hz = _own_split(model) if split_hz is None else split_hz
    if not 0 < split_hz < rate / 2:
        raise ConfigError(f"the split lies between 0 and {rate / 2:g} Hz for this model, not at {split_hz:g} Hz")
    size = 64 * max(1, round(_WINDOW_SECONDS * rate / 64))
    stft = Stft(size, size // 4)
    with torch.inference_mode():
        estimates = model.intermediate_estimates(mixture.unsqueeze(0))
        heard, after = stft(mixture), stft(estimates[-1][0])
        before = stft(estimates[-2][0]) if model.refines and len(estimates) > 1 else None
    loudest = _power(heard).max().clamp_min(_LEAST_POWER)
    split_bin = round(split_hz * size / rate)

    def level(spectrum: Float[Tensor, "channel 2 freq frame"]) -> np.ndarray:
        return (10 * torch.log10(_power(spectrum) / loudest + _LEAST_POWER)).numpy()

    stems = tuple(
        StemSpectrogram(
            name=name,
            with_db=level(after[index]),
            without_db=None if before is None else level(before[index]),
            changed_db=None if before is None else _changed(before[index], after[index], split_bin),
        )
        for index, name in enumerate(model.spec.sources)
    )
    return RefinementAnalysis(
        mixture_db=level(heard), stems=stems, split_hz=split_hz, bin_hz=rate / size, frame_seconds=stft.hop / rate
    )


def _own_split(model: SeparationModel) -> float:
    share = 0.5
    if isinstance(model, WithSuperResolution) and isinstance(model.super_resolution, SuperResolution):
        share = model.super_resolution.config.split
    return share * model.spec.sample_rate / 2


def _power(spectrum: Float[Tensor, "channel 2 freq frame"]) -> Float[Tensor, "freq frame"]:
    return spectrum.square().sum(dim=(0, 1))


def _changed(before: Tensor, after: Tensor, split_bin: int) -> tuple[float, float]:
    change, whole = _power(after - before), _power(after)
    ratios = [
        float(10 * torch.log10((change[part].sum() + _LEAST_POWER) / (whole[part].sum() + _LEAST_POWER)))
        for part in (slice(0, split_bin), slice(split_bin, None))
    ]
    return ratios[0], ratios[1]
