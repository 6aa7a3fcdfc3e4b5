"""Recursive filters in blocks are SciPy's from sample to sample."""

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfilt

from unbraid.signal.loudness import k_weighting
from unbraid.signal.recursive_filter import RecursiveFilter

SECTIONS = {
    "K at 48 kHz": k_weighting(48_000).numpy(),
    "K at 8 kHz": k_weighting(8000).numpy(),
    "20 Hz at 192 kHz": butter(4, 20, "highpass", fs=192_000, output="sos"),
    "narrow": butter(3, [0.1, 0.11], "bandpass", output="sos"),
}


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("pieces", [(5000,), (1, 127, 128, 129, 0, 4615), (64,) * 30, (1,) * 300])
def test_it_is_scipys_in_pieces_of_any_length(name, pieces):
    signal = torch.randn(2, 3, sum(pieces))
    recursive = RecursiveFilter(torch.from_numpy(SECTIONS[name]))
    found = torch.cat([recursive.push(piece) for piece in signal.split(pieces, dim=-1)], dim=-1)
    expected = sosfilt(SECTIONS[name], signal.double().numpy())
    assert found.shape == signal.shape
    assert np.abs(found.numpy() - expected).max() < 1e-9 * np.abs(expected).max()


def test_it_stays_exact_over_a_minute():
    signal = torch.randn(60 * 48_000) + 1
    found = RecursiveFilter(torch.from_numpy(SECTIONS["K at 48 kHz"])).push(signal)
    expected = sosfilt(SECTIONS["K at 48 kHz"], signal.double().numpy())
    assert np.abs(found.numpy() - expected).max() < 1e-9 * np.abs(expected).max()
