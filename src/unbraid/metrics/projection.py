"""Least squares with filters: which part of a signal is made of others, each delayed by up to some hundred samples.

BSS eval asks what a reference, run through the best filter of 512 taps, can explain of an estimate. With r_i[t - a] the
reference i delayed by a, the filters h solve G h = d, where

    G[(i, a), (j, b)] = sum_t r_i[t - a] r_j[t - b]     depends on i, j and a - b only: a matrix of Toeplitz blocks
    d[(i, a)]         = sum_t r_i[t - a] e[t]

and both are correlations at short lags, so they come from FFTs of short blocks, whatever the length of the signals.

G is positive and is factorised by Cholesky's method, in one piece: 4 stereo stems make 4096 unknowns, a second of one
core. (Batched `torch.linalg.solve` must not be used here, see docs/limitations.md.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unbraid.axes import Float, Tensor
from unbraid.signal.lengths import stretch

_FLOOR = torch.finfo(torch.float64).eps
"""What museval adds to the diagonal; a silent channel rests on nothing else."""
_SMALLEST_LOADING = 1e-15
_GROUP = 2**21
"""Samples of float64 that are transformed together, which bounds the memory."""


def correlate(
    left: Float[Tensor, "left sample"], rights: Sequence[Float[Tensor, "_ sample"]], taps: int
) -> Float[Tensor, "left right lag"]:
    """sum_t left[t] right[t + lag] for lags from -(taps - 1) to taps - 1, in order, of signals that are zero outside.

    `rights` are taken as if they were concatenated, which would need memory for another copy of everything.
    """
    reach, num_samples = taps - 1, left.shape[-1]
    n_fft = 2 ** max(13, (8 * taps).bit_length())
    step = n_fft - 2 * reach
    num_rights = sum(len(right) for right in rights)
    blocks = max(1, _GROUP // (n_fft * (len(left) + num_rights)))
    total = torch.zeros(n_fft // 2 + 1, len(left), num_rights, dtype=torch.complex128, device=left.device)
    for start in range(0, num_samples, blocks * step):
        stop = start + min(blocks, -(-(num_samples - start) // step)) * step
        # The right block begins `reach` samples earlier and ends as much later: no lag wraps around.
        near = torch.fft.rfft(stretch(left, start, stop).unfold(-1, step, step), n_fft).conj().resolve_conj()
        wide = torch.cat([stretch(right, start - reach, stop + reach) for right in rights]).unfold(-1, n_fft, step)
        wide = torch.fft.rfft(wide)
        total += torch.matmul(near.permute(2, 0, 1).contiguous(), wide.permute(2, 1, 0).contiguous())
    return torch.fft.irfft(total.permute(1, 2, 0), n_fft)[..., : 2 * reach + 1]


def gram_matrix(correlations: Float[Tensor, "signal signal lag"]) -> Float[Tensor, "column column"]:
    """G of the module's docstring from the correlations of the references among each other; columns are (i, a)."""
    num_signals, taps = correlations.shape[0], (correlations.shape[-1] + 1) // 2
    # Entry (a, b) is the lag a - b, which stands at a + (taps - 1 - b): row a is a window that begins at a, reversed.
    blocks = correlations.unfold(-1, taps, 1).flip(-1)
    return blocks.permute(0, 2, 1, 3).reshape(num_signals * taps, num_signals * taps)


def cross_vector(correlations: Float[Tensor, "signal estimate lag"]) -> Float[Tensor, "column estimate"]:
    """d of the module's docstring from the correlations of references with estimates, a column per estimate."""
    return correlations[..., correlations.shape[-1] // 2 :].permute(0, 2, 1).flatten(0, 1)


def factorise(gram: Float[Tensor, "column column"], loading: float = 0.0) -> Float[Tensor, "column column"]:
    """The Cholesky factor of G, whose diagonal is raised by `loading` times itself.

    Where references depend on each other (twice the same channel, a band without any energy) G is singular to working
    precision; then the least loading of 1e-15, 1e-14 ... is taken that makes it positive, which leaves out what the
    references do not hold. All nan if G holds anything that is not a finite number.
    """
    if not torch.isfinite(gram.sum()):
        return torch.full_like(gram, torch.nan)
    diagonal = gram.diagonal().clone()
    while True:
        gram.diagonal().copy_(diagonal * (1 + loading) + _FLOOR)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not failed:
            gram.diagonal().copy_(diagonal)
            return factor
        loading = max(10 * loading, _SMALLEST_LOADING)
