"""How loud stems are: their integrated loudness and their true peak, measured while they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from unbraid.axes import Float, Tensor
from unbraid.signal.loudness import LoudnessMeter
from unbraid.signal.true_peak import TruePeakMeter


class LevelMeter:
    """Takes all stems of a recording together, block by block."""

    def __init__(self, num_stems: int, num_channels: int, sample_rate: int) -> None:
        self._loudness = LoudnessMeter((num_stems, num_channels), sample_rate)
        self._peak = TruePeakMeter((num_stems, num_channels), sample_rate)

    def push(self, stems: Float[Tensor, "source channel sample"]) -> None:
        """The next block."""
        self._loudness.push(stems)
        self._peak.push(stems)

    def lufs(self) -> list[float]:
        """Integrated loudness of each stem; -inf for silence."""
        return self._loudness.integrated().tolist()

    def true_peaks(self) -> list[float]:
        """The peak of each stem, between the samples too; full scale is 1."""
        return self._peak.finish().tolist()

    def facts(self, gains: Sequence[float]) -> list[dict[str, float | None]]:
        """Of each stem at its gain, for a record: None stands for silence, which JSON has no number for."""
        loudness = self._loudness.integrated(torch.tensor(gains, dtype=torch.float64)[:, None, None]).tolist()
        peaks = [gain * peak for gain, peak in zip(gains, self.true_peaks(), strict=True)]
        return [
            {
                "loudness_lufs": _rounded(lufs),
                "true_peak_db": _rounded(20 * math.log10(peak) if peak > 0 else -math.inf),
            }
            for lufs, peak in zip(loudness, peaks, strict=True)
        ]


def _rounded(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
