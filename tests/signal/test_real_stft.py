"""The STFT without complex numbers is the other one."""

import pytest
import torch

from unbraid.signal.real_stft import RealStft
from unbraid.signal.stft import Stft


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize(("n_fft", "hop", "window"), [(64, 16, 64), (64, 20, 48), (32, 16, 32)])
@pytest.mark.parametrize("num_samples", [60, 64, 100, 501])
def test_it_is_the_other_one_there_and_back(padding, n_fft, hop, window, num_samples):
    stft = Stft(n_fft, hop, window_samples=window, padding=padding)
    real, signal = RealStft(stft), torch.randn(2, 3, num_samples)
    spectrum = stft(signal)
    assert torch.allclose(real(signal), spectrum, atol=1e-5)
    spectrum = spectrum * torch.rand_like(spectrum)
    for length in (num_samples, num_samples - 7, num_samples + 90):
        assert torch.allclose(real.inverse(spectrum, length), stft.inverse(spectrum, length), atol=1e-5)


def test_zeros_may_be_added_to_any_signal():
    stft = Stft(64, 16, padding="constant")
    signal = torch.randn(1, 1, 1)
    assert torch.allclose(RealStft(stft).inverse(RealStft(stft)(signal), 1), signal, atol=1e-6)
