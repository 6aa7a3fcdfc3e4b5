import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ConfigError
from unbraid.signal.stft import Stft, istft, stft
from unbraid.signal.windows import build_window, hann

SIZES = [(2, 1), (16, 4), (64, 32), (256, 64), (512, 110), (512, 200), (1024, 256), (2048, 441), (4096, 1024)]


@settings(max_examples=120, deadline=None)
@given(
    length=st.integers(1, 5000),
    sizes=st.sampled_from(SIZES),
    window=st.sampled_from(["hann", "hamming", "sqrt_hann", "rectangular"]),
    padding=st.sampled_from(["reflect", "constant"]),
    seed=st.integers(0, 99),
)
def test_inverse_gives_the_signal_back_for_any_length(length, sizes, window, padding, seed):
    transform = Stft(*sizes, window=window, padding=padding)
    signal = torch.randn(2, length, generator=torch.Generator().manual_seed(seed))
    spectrum = transform(signal)
    assert spectrum.shape == (2, 2, transform.num_freqs, transform.num_frames(length))
    torch.testing.assert_close(transform.inverse(spectrum, length), signal, atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(length=st.integers(2100, 5000), sizes=st.sampled_from([(256, 64), (512, 110), (2048, 441), (4096, 1024)]))
def test_agrees_with_torch_for_hops_up_to_a_quarter(length, sizes):
    signal = torch.randn(length, generator=torch.Generator().manual_seed(length))
    n_fft, hop = sizes
    expected = torch.stft(signal, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)
    torch.testing.assert_close(
        stft(signal, n_fft, hop, hann(n_fft)), torch.view_as_real(expected).movedim(-1, 0), atol=1e-4, rtol=1e-5
    )


def test_agrees_with_torch_for_short_windows_and_large_hops():
    signal = torch.randn(3, 3000)
    window = build_window("hamming", 200)
    expected = torch.stft(
        signal, 256, 100, 200, torch.hamming_window(200), center=True, pad_mode="constant", return_complex=True
    )
    spectrum = stft(signal, 256, 100, window, padding="constant")
    torch.testing.assert_close(spectrum, torch.view_as_real(expected).movedim(-1, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(istft(spectrum, 256, 100, window, 3000), signal, atol=1e-5, rtol=0)


def test_module_and_function_are_one():
    signal = torch.randn(2, 3, 777)
    transform = Stft(128, 32)
    torch.testing.assert_close(transform(signal), stft(signal, 128, 32, hann(128)))
    assert transform.state_dict() == {}


def test_fewer_frames_than_the_length_needs_stay_finite():
    signal = torch.randn(6 * 512 + 511)
    transform = Stft(2048, 512)
    shortened = transform.inverse(transform(signal)[..., :-1], signal.numel())
    assert shortened.isfinite().all()
    torch.testing.assert_close(shortened[:2048], signal[:2048], atol=1e-5, rtol=0)
    assert transform.inverse(transform(signal), 9000).shape == (9000,)


def test_half_precision_and_double_precision_and_gradients():
    transform = Stft(64, 16)
    assert transform(torch.randn(100, dtype=torch.bfloat16)).dtype == torch.float32
    signal = torch.randn(70, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: transform.inverse(1.5 * transform(x), 70), (signal,))


@pytest.mark.parametrize(("n_fft", "hop", "window_samples"), [(7, 2, None), (64, 0, None), (64, 33, None), (64, 8, 65)])
def test_impossible_sizes_are_refused(n_fft, hop, window_samples):
    with pytest.raises(ConfigError, match="must"):
        Stft(n_fft, hop, window_samples=window_samples)


def test_windows_are_periodic_and_add_up():
    window = build_window("hann", 512)
    torch.testing.assert_close(window, torch.hann_window(512))
    torch.testing.assert_close(window.reshape(4, 128).sum(0), torch.full((128,), 2.0))
    torch.testing.assert_close(build_window("sqrt_hann", 512).square(), window)
    with pytest.raises(ConfigError, match="at least 1"):
        build_window("hann", 0)
