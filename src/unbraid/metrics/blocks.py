"""Long signals in pieces, so that a metric takes the same memory for a song and for a day."""

from __future__ import annotations

from torch.nn import functional as F

from unbraid.axes import Float, Tensor


def stretch(signal: Float[Tensor, "*axes sample"], start: int, stop: int) -> Float[Tensor, "*axes part"]:
    """Samples from start up to stop in float64, zeros before and after the signal."""
    num_samples = signal.shape[-1]
    first, last = min(max(start, 0), num_samples), max(min(stop, num_samples), 0)
    inside = signal[..., first : max(first, last)].double()
    left = min(max(-start, 0), stop - start)
    return F.pad(inside, (left, stop - start - left - inside.shape[-1]))


def fast_length(at_least: int) -> int:
    """The next even length whose prime factors are 2, 3 and 5, for which FFTs are fast."""
    length = at_least + at_least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
