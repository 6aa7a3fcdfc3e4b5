"""Correlations and least squares against their definitions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.metrics.projection import correlate, cross_vector, factorise, gram_matrix


def delayed(signals, taps):
    """Every signal delayed by 0 to taps - 1 samples, with room for the last: (signal x tap, sample)."""
    num_samples = signals.shape[-1]
    rows = torch.zeros(len(signals), taps, num_samples + taps - 1, dtype=torch.float64)
    for tap in range(taps):
        rows[:, tap, tap : tap + num_samples] = signals
    return rows.flatten(0, 1)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_they_equal_products_of_delayed_signals(num_samples, taps, num_signals):
    reference = torch.randn(num_signals, num_samples)
    estimate = torch.randn(2, num_samples)
    correlations = correlate(reference, (reference, estimate), taps)
    rows = delayed(reference, taps)
    padded = torch.nn.functional.pad(estimate.double(), (0, taps - 1))
    assert torch.allclose(gram_matrix(correlations[:, :num_signals]), rows @ rows.T, atol=1e-9)
    assert torch.allclose(cross_vector(correlations[:, num_signals:]), rows @ padded.T, atol=1e-9)


def test_blocks_join_without_a_trace():
    signal = torch.randn(1, 30_000, dtype=torch.float64)
    lags = correlate(signal, (signal,), 64)[0, 0]
    whole = torch.fft.irfft(torch.fft.rfft(signal[0], 65_536).abs().square())
    assert torch.allclose(lags[63:], whole[:64], atol=1e-8)
    assert torch.allclose(lags[:64], lags[63:].flip(0), atol=1e-8)


def test_references_that_depend_on_each_other_still_explain_what_they_hold():
    """The same channel twice: no unique filters, and yet a definite projection."""
    torch.manual_seed(0)
    channel = torch.randn(1, 3000, dtype=torch.float64)
    signals = torch.cat([channel, channel])
    correlations = correlate(signals, (signals, 0.5 * channel), 32)
    filters = torch.cholesky_solve(cross_vector(correlations[:, 2:]), factorise(gram_matrix(correlations[:, :2])))
    found = delayed(signals, 32).T @ filters[:, 0]
    assert torch.allclose(found[:3000], 0.5 * channel[0], atol=1e-6)


def test_what_is_not_a_number_stays_one():
    assert factorise(torch.full((3, 3), torch.nan, dtype=torch.float64)).isnan().all()
