"""How sure a figure is: bootstrap confidence intervals and a paired test, both seeded.

Tables are (track, source), nan where nothing can be said. Tracks are drawn, never sources: those of one track belong
together.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

DRAWS = 2000
"""ours: resamples of a bootstrap. The ends of an interval then vary by a few hundredths of its width."""
FLIPS = 20_000
"""ours: sign patterns of the paired test that are drawn where there are too many to try all."""
_EXACT_TRACKS = 14
_CHUNK_VALUES = 4_000_000
"""Drawn at a time, so that thousands of tracks do not take gigabytes."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its 95 % confidence interval, which is nan where there are fewer than two tracks."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One measure over many tracks."""

    count: int
    """Tracks of which something can be said."""
    mean: Interval
    median: Interval
    """Over all tracks and sources."""
    source_medians: Interval
    """The median of each source over tracks, and their mean: what papers print as the average of stems."""


def describe(table: np.ndarray, *, seed: int = 0, draws: int = DRAWS) -> Statistic:
    """Means and medians over tracks, (track, source)."""
    table = table[~np.isnan(table).all(axis=1)]
    return Statistic(
        count=len(table),
        mean=interval(table, over_mean, seed=seed, draws=draws),
        median=interval(table, over_median, seed=seed, draws=draws),
        source_medians=interval(table, over_source_medians, seed=seed, draws=draws),
    )


def over_mean(tables: np.ndarray) -> np.ndarray:
    """Of (..., track, source): the mean over tracks, then over sources."""
    return _quietly(np.nanmean, _quietly(np.nanmean, tables, -2), -1)


def over_median(tables: np.ndarray) -> np.ndarray:
    """Of (..., track, source): the median over both."""
    flat = tables.reshape(*tables.shape[:-2], -1)
    return _quietly(np.nanmedian if np.isnan(flat).any() else np.median, flat, -1)


def over_source_medians(tables: np.ndarray) -> np.ndarray:
    """Of (..., track, source): the median over tracks, then the mean over sources."""
    median = np.nanmedian if np.isnan(tables).any() else np.median
    return _quietly(np.nanmean, _quietly(median, tables, -2), -1)


def interval(
    table: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *, seed: int = 0, draws: int = DRAWS
) -> Interval:
    """A percentile bootstrap of `statistic`, which takes (..., track, source), over tracks."""
    if len(table) == 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    value = float(statistic(table))
    if len(table) == 1:
        return Interval(value=value, low=math.nan, high=math.nan)
    # SciPy takes long to import, and most commands draw nothing.
    from scipy.stats import bootstrap

    def of_drawn(places: np.ndarray, axis: int) -> np.ndarray:
        return statistic(table[places])

    found = bootstrap(
        (np.arange(len(table)),),
        of_drawn,
        n_resamples=draws,
        batch=max(1, _CHUNK_VALUES // table.size),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value=value, low=float(found.low), high=float(found.high))


def sign_flip_p(differences: np.ndarray, *, seed: int = 0, flips: int = FLIPS) -> float:
    """How often the mean of paired differences would be this far from zero if their signs were chance.

    Two-sided. Up to 14 differences every pattern of signs is tried; beyond that, patterns are drawn and the observed
    one counts among them, so that the result is never zero. nan without differences.
    """
    values = np.asarray(differences, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan
    observed = abs(values.sum()) * (1 - 1e-12)  # equal sums in another order are not smaller
    if len(values) <= _EXACT_TRACKS:
        signs = np.array(list(product((1.0, -1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= observed).mean())
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK_VALUES // len(values))
    beyond = 0
    for done in range(0, flips, at_once):
        signs = rng.integers(0, 2, size=(min(at_once, flips - done), len(values))) * 2.0 - 1
        beyond += int((np.abs(signs @ values) >= observed).sum())
    return (beyond + 1) / (flips + 1)


def paired_t_p(differences: np.ndarray) -> float:
    """The two-sided p value of a paired t-test, which papers report; nan of fewer than two differences.

    It takes differences for normal, which those of few tracks seldom are; `sign_flip_p` does not.
    """
    values = np.asarray(differences, np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return math.nan
    error = values.std(ddof=1) / math.sqrt(len(values))
    if error <= 1e-12 * np.abs(values).max():
        return 0.0 if values.any() else 1.0
    from scipy.stats import t

    return float(2 * t.sf(abs(values.mean()) / error, len(values) - 1))


def _quietly(function: Callable[..., np.ndarray], values: np.ndarray, axis: int | None, **settings) -> np.ndarray:
    """numpy warns where all values are nan; nan is what is meant then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(function(values, axis=axis, **settings))
