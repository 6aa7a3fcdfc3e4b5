"""The peak between the samples, of signals whose peak is known."""

import numpy as np
import pytest
import torch

from unbraid.signal.loudness import LoudnessMeter
from unbraid.signal.true_peak import TruePeakMeter


@pytest.mark.parametrize(("rate", "tolerance_db"), [(44_100, 0.2), (96_000, 0.8), (192_000, 3.1)])
def test_a_sine_that_is_never_sampled_at_its_peak(rate, tolerance_db):
    """At a quarter of the rate and 45 degrees, every sample is 3 dB below the peak."""
    phase = np.pi / 4 + np.pi / 2 * np.arange(4000)
    sine = (np.sin(phase) * np.hanning(4000)).astype(np.float32)
    meter = TruePeakMeter((1,), rate)
    meter.push(torch.from_numpy(sine)[None])
    assert -tolerance_db < 20 * np.log10(float(meter.finish())) <= 0.05


def test_blocks_do_not_matter_and_the_loudest_row_counts():
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9001)).astype(np.float32)
    signal[1] *= 0.3
    peaks = []
    for size in (9001, 1000, 7):
        meter = TruePeakMeter((2,), 48_000)
        for start in range(0, 9001, size):
            meter.push(torch.from_numpy(signal[:, start : start + size]))
        peaks.append(float(meter.finish()))
    assert peaks[0] > np.abs(signal).max()
    assert peaks[1:] == pytest.approx([peaks[0]] * 2, abs=1e-6)


def test_rows_together_have_the_peaks_that_they_have_alone_and_where_they_are_does_not_matter():
    """Peaks between the samples at the start, in the middle and in the ringing after the end, over a quiet bed."""
    rows = 0.01 * torch.from_numpy(np.random.default_rng(0).standard_normal((3, 2, 5000)).astype(np.float32))
    for row, place in enumerate((0, 2501, 4998)):
        rows[row, row % 2, place : place + 2] = 0.5
    together = TruePeakMeter((3, 2), 48_000)
    together.push(rows)
    alone = [TruePeakMeter((2,), 48_000) for _ in rows]
    for meter, row in zip(alone, rows, strict=True):
        meter.push(row)
    peaks = together.finish().tolist()
    assert peaks == pytest.approx([float(meter.finish()) for meter in alone], abs=1e-6)
    assert peaks == pytest.approx([peaks[0]] * 3, abs=0.03)
    assert peaks[0] > 0.59


def test_loudness_in_blocks_is_that_of_the_whole():
    """A sine of 1 kHz at -23 dB of full scale in both channels is at -23 LUFS, at twice the gain 6 dB above."""
    time = np.arange(3 * 48_000) / 48_000
    sine = np.tile(10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time), (2, 1))
    for size in (len(time), 4801, 997):
        meter = LoudnessMeter((2,), 48_000)
        for start in range(0, len(time), size):
            meter.push(torch.from_numpy(sine[:, start : start + size]))
        assert float(meter.integrated()) == pytest.approx(-23, abs=0.05)
        assert float(meter.integrated(2.0)) == pytest.approx(-23 + 20 * np.log10(2), abs=0.05)
