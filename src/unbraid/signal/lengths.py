"""Lengths of signals: the sizes at which FFTs are fast, and a signal brought to a length or read beyond its ends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, overload

from torch.nn import functional as F

from unbraid.axes import Float, Tensor

if TYPE_CHECKING:
    import numpy as np


def fast_fft_length(at_least: int) -> int:
    """The smallest length from `at_least` up that is even and has no prime factor above 5.

    By hand, because all of `scipy.fft` takes a quarter of a second to import.
    """
    return 2 * _smooth(max(1, -(-at_least // 2)))


@cache
def _smooth(at_least: int) -> int:
    best = 1 << (at_least - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << (-(-at_least // odd) - 1).bit_length())
            odd *= 3
        fives *= 5
    return best


# A constant to whoever compiles. This is all that torch.compiler.assume_constant_result does, after it has imported the
# compiler, which takes as long as PyTorch itself.
fast_fft_length._dynamo_marked_constant = True  # type: ignore[attr-defined]


@overload
def fit_length(samples: Tensor, num_samples: int) -> Tensor: ...
@overload
def fit_length(samples: np.ndarray, num_samples: int) -> np.ndarray: ...
def fit_length(samples: Tensor | np.ndarray, num_samples: int) -> Tensor | np.ndarray:
    """(…, sample) with its end cut off, or zeros put there, so that it has `num_samples`; what fits is given back."""
    missing = num_samples - samples.shape[-1]
    if missing <= 0:
        return samples[..., :num_samples]
    if isinstance(samples, Tensor):
        return F.pad(samples, (0, missing))
    import numpy as np

    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])


def stretch(signal: Float[Tensor, "*axes sample"], start: int, stop: int) -> Float[Tensor, "*axes part"]:
    """Samples from start up to stop in float64, zeros before and after the signal."""
    num_samples = signal.shape[-1]
    first, last = min(max(start, 0), num_samples), max(min(stop, num_samples), 0)
    inside = signal[..., first : max(first, last)].double()
    left = min(max(-start, 0), stop - start)
    return F.pad(inside, (left, stop - start - left - inside.shape[-1]))
