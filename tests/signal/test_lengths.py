"""Fast lengths are the least of their kind, and signals are cut and filled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import next_fast_len

from unbraid.signal.lengths import fast_fft_length, fit_length, stretch


def smooth_and_even(length: int) -> bool:
    if length % 2:
        return False
    for prime in (2, 3, 5):
        while length % prime == 0:
            length //= prime
    return length == 1


# 625 has four fives, 2 * 3^7 seven threes: powers that a short table of factors forgets.
@pytest.mark.parametrize("at_least", [1, 2, 3, 7, 502, 1001, 1249, 4099, 4373, 100_003])
def test_no_shorter_length_is_as_fast(at_least):
    length = fast_fft_length(at_least)
    assert length == next(candidate for candidate in range(at_least, 3 * at_least + 2) if smooth_and_even(candidate))


@given(at_least=st.integers(1, 2_000_000))
def test_fast_lengths_are_even_smooth_and_not_much_longer(at_least):
    length = fast_fft_length(at_least)
    assert smooth_and_even(length)
    assert at_least <= length <= 1.15 * at_least + 2


def test_fast_lengths_are_those_of_scipy():
    lengths = [*range(1, 3000), 529_205, 2**31 - 1]
    assert [fast_fft_length(2 * half) for half in lengths] == [2 * next_fast_len(half, real=True) for half in lengths]


@pytest.mark.parametrize("make", [np.ones, torch.ones], ids=["array", "tensor"])
def test_a_signal_is_cut_and_filled(make):
    assert fit_length(make((2, 2, 3)), 2).tolist() == make((2, 2, 2)).tolist()
    assert fit_length(make((1, 2)), 3).tolist() == [[1, 1, 0]]
    assert type(fit_length(make((1, 2)), 3)) is type(make((1, 2)))


@given(start=st.integers(-30, 30), count=st.integers(0, 50), num_samples=st.integers(1, 20))
@settings(deadline=None)
def test_a_stretch_may_lie_anywhere(start, count, num_samples):
    signal = torch.arange(1.0, num_samples + 1)
    expected = [float(i + 1) if 0 <= i < num_samples else 0.0 for i in range(start, start + count)]
    assert stretch(signal, start, start + count).tolist() == expected
