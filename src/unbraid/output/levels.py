"""How loud a stem is: its integrated loudness and its true peak, measured while it is written."""

from __future__ import annotations

import math

import numpy as np
import torch

from unbraid.signal.loudness import LoudnessMeter
from unbraid.signal.true_peak import TruePeakMeter


class LevelMeter:
    """Takes one stem, block by block."""

    def __init__(self, num_channels: int, sample_rate: int) -> None:
        self._loudness = LoudnessMeter((num_channels,), sample_rate)
        self._peak = TruePeakMeter(num_channels, sample_rate)

    def push(self, block: np.ndarray) -> None:
        """(channel, sample)."""
        samples = torch.from_numpy(block)
        self._loudness.push(samples)
        self._peak.push(samples)

    def lufs(self, gain: float = 1.0) -> float:
        """Integrated loudness in LUFS at that gain; -inf for silence."""
        return float(self._loudness.integrated(gain))

    def true_peak(self) -> float:
        """The peak between the samples too, at the gain 1; full scale is 1."""
        return self._peak.finish()

    def facts(self, gain: float) -> dict[str, float | None]:
        """For a record: None stands for silence, which JSON has no number for."""
        return {
            "loudness_lufs": _rounded(self.lufs(gain)),
            "true_peak_db": _rounded(20 * math.log10(peak) if (peak := gain * self.true_peak()) > 0 else -math.inf),
        }


def _rounded(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
