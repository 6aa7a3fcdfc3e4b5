"""Which of two evaluations is better, and how sure that is: differences track by track.

Both must have scored the same tracks by the same measure. What pairs leave of the spread between tracks is what counts,
which is far less than the two confidence intervals on their own suggest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unbraid.errors import DataError
from unbraid.evaluation.measures import MEASURES, find_measures
from unbraid.evaluation.scores import Scores, TrackScore, plain
from unbraid.evaluation.statistics import Interval, interval, over_mean, over_median, paired_t_p, sign_flip_p
from unbraid.evaluation.summary import limit_of

_SECONDS_APART = 0.01
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Change:
    """One track in both."""

    track: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        return self.second - self.first


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Second minus first over all tracks that both have."""

    name: str
    """"all", or a source."""
    count: int
    first: float
    """Mean over these tracks."""
    second: float
    mean: Interval
    median: Interval
    p: float
    """Of a two-sided sign-flip test of the mean: how often chance alone would do this."""
    t_test_p: float
    """Of a two-sided paired t-test, as papers report it."""
    better: int
    """Tracks on which the second is better."""
    worse: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that was compared by one measure."""

    measure: str
    higher_is_better: bool
    first: str
    """Name of what was scored."""
    second: str
    data: str
    protocols: tuple[str, str]
    """By which the first and the second were scored; empty without one."""
    left_out: tuple[int, int]
    """Tracks that only the first, and only the second has."""
    undefined: int
    """Tracks in both of which nothing can be said."""
    overall: Difference
    sources: tuple[Difference, ...]
    changes: tuple[Change, ...]
    """Every track, the one that has lost most first."""

    def falls_short(self, threshold: float) -> bool:
        """Whether the second is worse by more than `threshold`; of a negative one, not better by as much."""
        gain = self.overall.mean.value if self.higher_is_better else -self.overall.mean.value
        return math.isnan(gain) or gain < -threshold


def compare(first: Scores, second: Scores, measure: str | None = None, *, intersection: bool = False) -> Comparison:
    """Pairs the tracks of two evaluations; `measure` is by default the headline of the first that both have.

    Raises DataError where they are not comparable: other data, other measures, other lengths, or, without
    `intersection`, other tracks.
    """
    name = _common_measure(first, second, measure)
    _check_data(first, second)
    mine = {track.name: track for track in first.tracks}
    theirs = {track.name: track for track in second.tracks}
    common = [track for track in mine if track in theirs]
    left_out = (len(mine) - len(common), len(theirs) - len(common))
    if not common:
        raise DataError("the two files have no track in common", remedy="evaluate both on the same data")
    if any(left_out) and not intersection:
        raise DataError(
            f"the two files are of different tracks: {len(common)} in common, {_some(mine, theirs)} only in the first, "
            f"{_some(theirs, mine)} only in the second",
            remedy="evaluate both on the same tracks, or compare those in common with `intersection=True`",
        )
    for track in common:
        if abs(mine[track].seconds - theirs[track].seconds) > _SECONDS_APART:
            raise DataError(
                f"is {mine[track].seconds:.2f} s long in the first file and {theirs[track].seconds:.2f} s in "
                "the second",
                subject=f"'{track}'",
                remedy="evaluate both on the same audio",
            )
    limits = limit_of(first), limit_of(second)

    def change(track: str, source: str | None = None) -> Change:
        return Change(
            track=track,
            first=_value(mine[track], name, limits[0], source),
            second=_value(theirs[track], name, limits[1], source),
        )

    changes = [change(track) for track in common]
    known = [one for one in changes if not math.isnan(one.difference)]
    higher = MEASURES[name].higher_is_better
    sources = () if first.data["exchangeable"] else _common_sources(first, second)
    return Comparison(
        measure=name,
        higher_is_better=higher,
        first=first.name,
        second=second.name,
        data=str(first.data["name"]),
        protocols=(str(first.protocol.get("name", "")), str(second.protocol.get("name", ""))),
        left_out=left_out,
        undefined=len(changes) - len(known),
        overall=_difference("all", known, higher),
        sources=tuple(
            _difference(source, [change(track, source) for track in common], higher)
            for source in (sources if len(sources) > 1 else ())
        ),
        changes=tuple(sorted(known, key=lambda one: one.difference if higher else -one.difference)),
    )


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """As JSON holds it."""
    data = asdict(comparison)
    for row, change in zip(data["changes"], comparison.changes, strict=True):
        row["difference"] = change.difference
    return plain(data)


def _difference(name: str, changes: Sequence[Change], higher_is_better: bool) -> Difference:
    known = [change for change in changes if not math.isnan(change.difference)]
    differences = np.array([change.difference for change in known])
    gains = differences if higher_is_better else -differences
    table = differences.reshape(-1, 1)
    return Difference(
        name=name,
        count=len(known),
        first=float(np.mean([change.first for change in known])) if known else math.nan,
        second=float(np.mean([change.second for change in known])) if known else math.nan,
        mean=interval(table, over_mean),
        median=interval(table, over_median),
        p=sign_flip_p(differences),
        t_test_p=paired_t_p(differences),
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
    )


def _common_measure(first: Scores, second: Scores, wanted: str | None) -> str:
    # A newer version may have measures that are not known here.
    common = [name for name in first.metrics if name in second.metrics and name in MEASURES]
    if wanted is not None:
        name = find_measures(wanted)[0].name
        if name in common:
            return name
        raise DataError(
            f"{name} is not in both files: the first has {', '.join(first.metrics)}, the second "
            f"{', '.join(second.metrics)}",
            remedy=f"evaluate again with `metrics={name}`",
        )
    if not common:
        raise DataError(
            f"the two files have no metric in common: the first has {', '.join(first.metrics)}, the second "
            f"{', '.join(second.metrics)}",
            remedy="evaluate both with the same `metrics`",
        )
    return common[0]


def _check_data(first: Scores, second: Scores) -> None:
    for key, what in (("name", "data"), ("exchangeable", "kinds of sources")):
        if first.data[key] != second.data[key]:
            raise DataError(
                f"the two files are of different {what}, '{first.data[key]}' and '{second.data[key]}'",
                remedy="evaluate both on the same",
            )
    if not first.data["exchangeable"] and not _common_sources(first, second):
        raise DataError("the two files have no source in common", remedy="evaluate both on the same sources")


def _common_sources(first: Scores, second: Scores) -> tuple[str, ...]:
    found = [{target.source: None for track in scores.tracks for target in track.targets} for scores in (first, second)]
    return tuple(source for source in found[0] if source in found[1])


def _value(track: TrackScore, measure: str, limit: float, source: str | None = None) -> float:
    if source is None:
        value = track.value(measure)
    else:
        value = next((one.metrics.get(measure, math.nan) for one in track.targets if one.source == source), math.nan)
    return max(-limit, min(limit, value)) if not math.isnan(value) else value


def _some(mine: dict[str, TrackScore], theirs: dict[str, TrackScore]) -> str:
    only = [name for name in mine if name not in theirs]
    named = ", ".join(f"'{name}'" for name in only[:_MOST_NAMED])
    return f"{len(only)} ({named}{' …' if len(only) > _MOST_NAMED else ''})" if only else "0"
