"""Scores and the file that keeps them: JSON whose tracks have the shape that museval gave them.

    {"format": 2, "unbraid": ..., "estimates": {...}, "data": {...}, "metrics": [...], "protocol": {...},
     "summary": {...}, "tracks": [
        {"name": ..., "seconds": ..., "labels": {...}, "model_seconds": ..., "targets": [
            {"name": "vocals", "estimate": "vocals", "metrics": {"cSDR": 5.1},
             "frames": [{"time": 0.0, "duration": 1.0, "metrics": {"SDR": 4.8}}]}]}]}

A score of which nothing can be said is null, and an infinite one is 200 dB.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unbraid.errors import DataError
from unbraid.files.json_text import JsonError, entries, member, read_json
from unbraid.files.names import printable

FORMAT = 2
_SCORES_WANTED = "give a file of scores, as an evaluation writes it with `json`"
CAP_DB = 200.0
"""What infinite scores stand as."""
_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class TargetScore:
    """One source of one track."""

    source: str
    estimate: str
    """Name of the estimate that was taken for it."""
    metrics: Mapping[str, float]
    """By the name of the measure; nan where nothing can be said."""
    frames: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By the name that museval gives it, a value for every second."""


@dataclass(frozen=True, kw_only=True)
class TrackScore:
    """One track."""

    name: str
    seconds: float
    labels: Mapping[str, str]
    targets: tuple[TargetScore, ...]
    model_seconds: float = 0.0
    """Wall time of the separation; 0 where estimates were there already."""
    most_error_at: float = 0.0
    """Where the ten seconds with the most error begin, in seconds."""
    notes: tuple[str, ...] = ()
    """What was done to estimates to make them comparable, such as resampling."""

    def value(self, measure: str) -> float:
        """The mean over the sources of which something can be said; nan where there is none."""
        known = [value for target in self.targets if not math.isnan(value := target.metrics.get(measure, math.nan))]
        return sum(known) / len(known) if known else math.nan


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One evaluation: what was scored, on what, by which measures, and how it came out."""

    estimates: Mapping[str, Any]
    """"kind" is "model" or "folder", then its name, hash and settings."""
    data: Mapping[str, Any]
    """"name", "layout", "sources", "exchangeable"."""
    metrics: tuple[str, ...]
    """The first one is the headline."""
    tracks: tuple[TrackScore, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """What a protocol has fixed, see `Protocol.facts`; empty without one."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """As `summary_data` makes it; computed again from the tracks by whoever needs it."""

    @property
    def name(self) -> str:
        return str(self.estimates.get("name", "estimates"))


def scores_json(scores: Scores) -> str:
    """The text of the file."""
    import unbraid

    content = {
        "format": FORMAT,
        "unbraid": unbraid.__version__,
        "estimates": dict(scores.estimates),
        "data": dict(scores.data),
        "metrics": list(scores.metrics),
        "protocol": dict(scores.protocol),
        "summary": dict(scores.summary),
        "tracks": [track_data(track) for track in scores.tracks],
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """Reads such a file. Raises DataError for any other."""
    try:
        content = read_json(path)
    except OSError as error:
        raise DataError(f"cannot read {printable(path)} ({error.strerror})", remedy=_SCORES_WANTED) from error
    except JsonError as error:
        raise DataError(f"is not JSON ({error})", subject=printable(path), remedy=_SCORES_WANTED) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            "is not a file of scores of this version",
            subject=printable(path),
            remedy=f"write it anew by evaluating with `json={printable(path)}`",
        )
    try:
        return Scores(
            estimates=member(content, "estimates", dict),
            data=_read_data(member(content, "data", dict)),
            metrics=tuple(entries(content, "metrics", str)),
            tracks=tuple(read_track(track) for track in entries(content, "tracks", dict)),
            protocol=_read_protocol(content),
            summary=member(content, "summary", dict),
        )
    except JsonError as error:
        raise DataError(
            f"is a damaged file of scores ({error})", subject=printable(path), remedy="write it anew"
        ) from error


def _read_data(data: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, kind in (("name", str), ("layout", str), ("exchangeable", bool)):
        member(data, key, kind)
    entries(data, "sources", str)
    return data


def _read_protocol(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Files from before protocols have none."""
    if not content.get("protocol"):
        return {}
    protocol = member(content, "protocol", dict)
    member(protocol, "name", str)
    for column in entries(protocol, "columns", dict):
        for key in ("name", "measure"):
            member(column, key, str)
        if set(column) != {"name", "measure", "over_tracks"} or column["over_tracks"] not in ("mean", "median"):
            raise JsonError("a column of the protocol is not one")
    return protocol


def track_data(track: TrackScore) -> dict[str, Any]:
    """One track as it stands in the file."""
    return {
        "name": track.name,
        "seconds": round(track.seconds, 6),
        "labels": dict(track.labels),
        "model_seconds": round(track.model_seconds, 4),
        "most_error_at": track.most_error_at,
        "notes": list(track.notes),
        "targets": [
            {
                "name": target.source,
                "estimate": target.estimate,
                "metrics": dict(target.metrics),
                "frames": _frames_data(target.frames),
            }
            for target in track.targets
        ],
    }


def read_track(data: Mapping[str, Any]) -> TrackScore:
    """The way back from `track_data`; raises JsonError for anything else."""
    labels = member(data, "labels", dict)
    return TrackScore(
        name=member(data, "name", str),
        seconds=member(data, "seconds", float),
        labels={name: member(labels, name, str) for name in labels},
        model_seconds=member(data, "model_seconds", float),
        most_error_at=member(data, "most_error_at", float),
        notes=tuple(entries(data, "notes", str)),
        targets=tuple(_read_target(target) for target in entries(data, "targets", dict)),
    )


def _read_target(data: Mapping[str, Any]) -> TargetScore:
    metrics = member(data, "metrics", dict)
    frames = [member(frame, "metrics", dict) for frame in entries(data, "frames", dict)]
    return TargetScore(
        source=member(data, "name", str),
        estimate=member(data, "estimate", str),
        metrics={name: _number(metrics, name) for name in metrics},
        frames={name: [_number(frame, name) for frame in frames] for name in (frames[0] if frames else ())},
    )


def _frames_data(frames: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    count = max((len(values) for values in frames.values()), default=0)
    return [
        {
            "time": float(index),
            "duration": 1.0,
            "metrics": {name: values[index] for name, values in frames.items()},
        }
        for index in range(count)
    ]


def scores_csv(scores: Scores) -> str:
    """One line per track and source: labels, then measures; empty where nothing can be said."""
    labels = sorted({name for track in scores.tracks for name in track.labels})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track", "seconds", *labels, "source", "estimate", *scores.metrics])
    for track in scores.tracks:
        own = [track.labels.get(name, "") for name in labels]
        for target in track.targets:
            values = [plain(target.metrics.get(name, math.nan)) for name in scores.metrics]
            row = [track.name, round(track.seconds, 6), *own, target.source, target.estimate]
            writer.writerow([*row, *("" if value is None else value for value in values)])
    return text.getvalue()


def plain(value: Any) -> Any:
    """What JSON can hold: nan becomes null, infinity the greatest score, and no score has more digits than it means."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        return math.copysign(CAP_DB, value) if math.isinf(value) else round(float(value), _DIGITS)
    return value


def _number(values: Mapping[str, Any], name: str) -> float:
    return math.nan if values.get(name, 0) is None else member(values, name, float)
