"""What many tracks come to: every measure over all of them, by source, and apart by what they are labelled with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unbraid.errors import ConfigError
from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.scores import CAP_DB, Scores, TrackScore
from unbraid.evaluation.statistics import DRAWS, Statistic, describe

LIMIT_DB = 60.0
"""ours: in means, scores beyond this count as this; so a silent estimate pulls a mean down and leaves it finite.
Under a protocol the limit is what infinity stands as in the file."""
_MOST_GROUPS = 12
"""A label of more values than this tells tracks apart, not kinds of tracks."""
_ORDER = ("below 1 dB", "1 to 3 dB", "from 3 dB")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some tracks, or one source of some tracks, together."""

    name: str
    count: int
    """Tracks of which something can be said."""
    undefined: int
    """Tracks left out because a reference is silent."""
    measures: Mapping[str, Statistic]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All tracks, and the same apart."""

    overall: Group
    sources: tuple[Group, ...]
    """Where sources have names that mean something: one group each."""
    breakdowns: Mapping[str, tuple[Group, ...]]
    """By label."""
    audio_seconds: float
    model_seconds: float


def summarise(scores: Scores, *, by: Sequence[str] | None = None, seed: int = 0, draws: int = DRAWS) -> Summary:
    """Means and medians with confidence intervals; apart by the labels `by`, by default by all that group tracks.

    The bootstrap draws tracks. It says how much another list of the same speakers or songs would differ; who stands in
    several tracks makes the intervals too narrow for other speakers.
    """
    exchangeable = bool(scores.data["exchangeable"])
    names = () if exchangeable else tuple(dict.fromkeys(one.source for track in scores.tracks for one in track.targets))

    def group(name: str, tracks: Sequence[TrackScore], sources: Sequence[str] | None) -> Group:
        limit = limit_of(scores)
        tables = {measure: _table(tracks, measure, sources).clip(-limit, limit) for measure in scores.metrics}
        found = {measure: describe(table, seed=seed, draws=draws) for measure, table in tables.items()}
        count = max((statistic.count for statistic in found.values()), default=0)
        return Group(name=name, count=count, undefined=len(tracks) - count, measures=found)

    labels = list(by) if by is not None else _grouping_labels(scores.tracks)
    return Summary(
        overall=group("all", scores.tracks, names or None),
        sources=tuple(group(name, scores.tracks, [name]) for name in names) if len(names) > 1 else (),
        breakdowns={
            label: tuple(
                group(value, [track for track in scores.tracks if track.labels.get(label) == value], names or None)
                for value in _values(scores.tracks, label)
            )
            for label in labels
        },
        audio_seconds=sum((track.seconds for track in scores.tracks), 0.0),
        model_seconds=sum((track.model_seconds for track in scores.tracks), 0.0),
    )


def summary_data(summary: Summary) -> dict[str, Any]:
    """As it stands in the file of scores."""
    return asdict(summary)


def headline(statistic: Statistic, measure: str) -> tuple[float, float, float]:
    """Value, lower and upper end of what the literature quotes for this measure: its mean or its median over tracks."""
    chosen = statistic.mean if MEASURES[measure].over_tracks == "mean" else statistic.median
    return chosen.value, chosen.low, chosen.high


def limit_of(scores: Scores) -> float:
    """What scores beyond it count as, in dB."""
    return CAP_DB if scores.protocol else LIMIT_DB


def _table(tracks: Sequence[TrackScore], measure: str, sources: Sequence[str] | None) -> np.ndarray:
    """(track, source), or (track, 1) with the mean over sources that cannot be told apart."""
    if sources is None:
        rows = [[_speakers(track, measure)] for track in tracks]
    else:
        found = [{one.source: one.metrics.get(measure, math.nan) for one in track.targets} for track in tracks]
        rows = [[own.get(source, math.nan) for source in sources] for own in found]
    return np.array(rows, np.float64).reshape(len(tracks), -1 if tracks else 1)


def _speakers(track: TrackScore, measure: str) -> float:
    """A mixture with a silent speaker is not a mixture of speakers, and is left out."""
    values = [target.metrics.get(measure, math.nan) for target in track.targets]
    return sum(values) / len(values)


def _grouping_labels(tracks: Sequence[TrackScore]) -> list[str]:
    """Labels of which several values occur, and not so many that each is nearly a track of its own."""
    names = dict.fromkeys(name for track in tracks for name in track.labels)
    counts = {name: len(_values(tracks, name)) for name in names}
    return [name for name, count in counts.items() if 2 <= count <= min(_MOST_GROUPS, len(tracks) - 1)]


def _values(tracks: Sequence[TrackScore], label: str) -> list[str]:
    found = {track.labels[label] for track in tracks if label in track.labels}
    if not found and tracks:
        known = sorted({name for track in tracks for name in track.labels})
        raise ConfigError(f"no track has the label '{label}'", remedy=f"choose from {', '.join(known) or 'none'}")
    return sorted(found, key=lambda value: (_ORDER.index(value) if value in _ORDER else 0, value))
