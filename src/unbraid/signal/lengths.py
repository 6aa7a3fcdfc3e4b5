"""Lengths of signals: the sizes at which FFTs are fast, and a signal brought to a length or read beyond its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from torch.nn import functional as F

from unbraid.axes import Float, Tensor

if TYPE_CHECKING:
    import numpy as np


def fast_fft_length(at_least: int) -> int:
    """The smallest length from `at_least` up that is even and has no prime factor above 5."""
    try:
        from scipy.fft import next_fast_len
    except ModuleNotFoundError:  # as on a machine for training to which only the code was copied
        return 1 << max(1, (at_least - 1).bit_length())
    half = next_fast_len(max(1, -(-at_least // 2)), real=True)
    assert half is not None  # as its type stub has it
    return 2 * half


# Nothing of SciPy can be traced; the length is a constant to whoever compiles. This is all that
# torch.compiler.assume_constant_result does, after it has imported the compiler, which takes as long as PyTorch itself.
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
