"""The page about an evaluation: scores, how they spread, and the best and the worst tracks to look at and listen to.

Its size is bounded whatever was evaluated: a few tracks, of each the ten seconds with the most error or less, as MP3.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import unbraid
from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError
from unbraid.evaluation.estimates import EstimateSource
from unbraid.evaluation.material import PASSAGE_SECONDS
from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.report.charts import Row, histogram, interval_chart
from unbraid.evaluation.report.page import (
    MP3_KBPS,
    common_gain,
    decibels,
    escape,
    fact_list,
    figure,
    scale_note,
    whole_page,
)
from unbraid.evaluation.scores import Scores, TrackScore
from unbraid.evaluation.summary import Group, Summary, headline
from unbraid.evaluation.tracks import Track, TrackList
from unbraid.files.pending import PendingFile, write_pending
from unbraid.pictures.sounds import Scale, check_drawing, common_scale

_MOST_ITEMS, _MOST_SOUNDS = 3, 30
"""ours: of the best tracks, and as many of the worst; fewer where each has many sounds."""
_AUDIO_BYTES = 6_000_000
"""ours: of all sounds of a page together, before base64; passages become shorter where there are many sounds."""
_SHORTEST_SECONDS = 3.0
_MOST_TRACKS = 2000
"""Lines of the table of all tracks."""
_FEWEST_TRACKS = 3
"""Fewer have no distribution to show."""
_SPEECH_HZ, _MUSIC_HZ = 8_000.0, 16_000.0


@dataclass(frozen=True, kw_only=True)
class ItemDrawn:
    """One of the best or worst tracks is in the page."""

    index: int
    count: int
    name: str


@dataclass(frozen=True, eq=False, kw_only=True)
class _Passage:
    """What is shown of one track."""

    score: TrackScore
    start_seconds: float
    mixture: Recording
    references: Mapping[str, Recording]
    estimates: Mapping[str, Recording]

    @property
    def sounds(self) -> list[Recording]:
        return [self.mixture, *self.references.values(), *self.estimates.values()]


def write_score_report(
    pending: PendingFile,
    scores: Scores,
    summary: Summary,
    estimates: EstimateSource,
    tracks: TrackList,
) -> Generator[ItemDrawn, None, None]:
    """Writes the page; the tracks that it shows are separated again. Raises MissingExtraError without matplotlib."""
    check_drawing()
    by_name = {track.name: track for track in tracks.tracks}
    sounds_each = 1 + 3 * max((len(track.targets) for track in scores.tracks), default=1)
    best, worst = choose_items(scores, max(1, min(_MOST_ITEMS, _MOST_SOUNDS // sounds_each)))
    shown = [*worst, *best]
    num_sounds = sum(1 + 3 * len(score.targets) for score in shown)
    passages = []
    for index, score in enumerate(shown):
        passages.append(_cut(by_name[score.name], score, estimates, num_sounds))
        yield ItemDrawn(index=index, count=len(shown), name=score.name)
    write_pending(pending, build_score_page(scores, summary, passages[len(worst) :], passages[: len(worst)]).encode())


def choose_items(scores: Scores, num_items: int) -> tuple[list[TrackScore], list[TrackScore]]:
    """The best and the worst tracks by the headline, each from its end inwards, and no track twice."""
    measure = scores.metrics[0]
    known = [track for track in scores.tracks if not math.isnan(track.value(measure))]
    sign = 1 if MEASURES[measure].higher_is_better else -1
    ranked = sorted(known, key=lambda track: sign * track.value(measure))
    worst = ranked[: min(num_items, (len(ranked) + 1) // 2)]
    best = ranked[len(worst) :][::-1][:num_items]
    return best, worst


def _cut(track: Track, score: TrackScore, estimates: EstimateSource, num_sounds: int) -> _Passage:
    """The passage with the most error, shorter where many sounds share the page."""
    kbps = MP3_KBPS[min(track.num_channels, 2)]
    seconds = min(PASSAGE_SECONDS, max(_SHORTEST_SECONDS, _AUDIO_BYTES * 8 / (kbps * 1000 * num_sounds)))
    start = round(score.most_error_at * track.sample_rate)
    count = min(round(seconds * track.sample_rate), track.num_samples - start)
    sources = tuple(target.source for target in score.targets)
    with estimates.open(track, sources) as estimated:
        samples = estimated.read(start, count)
        order = [estimated.names.index(target.estimate) for target in score.targets]
    references = track.read_references(sources, start, count)
    rate = track.sample_rate
    return _Passage(
        score=score,
        start_seconds=score.most_error_at,
        mixture=Recording(track.read_mixture(start, count), rate),
        references={name: Recording(one, rate) for name, one in zip(sources, references, strict=True)},
        estimates={name: Recording(samples[index], rate) for name, index in zip(sources, order, strict=True)},
    )


def build_score_page(scores: Scores, summary: Summary, best: Sequence[_Passage], worst: Sequence[_Passage]) -> str:
    """The page as text."""
    passages = [*worst, *best]
    if not passages:
        raise ConfigError("no track has a score: there is nothing to report")
    highest = _SPEECH_HZ if scores.data["exchangeable"] else _MUSIC_HZ
    scale = common_scale([sound for passage in passages for sound in passage.sounds], highest)
    title = f"{scores.name} on {scores.data['name']}"
    headliner = scores.metrics[0]
    parts = [
        f"<header>\n<h1>{escape(title)}</h1>\n{fact_list(_facts(scores, summary))}\n</header>",
        f'<section aria-labelledby="scores">\n<h2 id="scores">Scores</h2>\n{_scores_table(scores, summary)}</section>',
        _distributions(scores, summary),
    ]
    for heading, group in ((f"The worst by {headliner}", worst), (f"The best by {headliner}", best)):
        if group:
            parts.append(
                f"<section>\n<h2>{escape(heading)}</h2>\n{scale_note(scale) if group is worst else ''}</section>"
            )
            parts += [_item(passage, scores, scale) for passage in group]
    parts.append(_all_tracks(scores))
    return whole_page(title, "\n".join(parts))


def _facts(scores: Scores, summary: Summary) -> dict[str, str]:
    estimates = scores.estimates
    facts = {"estimates": f"{scores.name} ({estimates['kind']})"}
    if estimates.get("sha256"):
        facts["weights"] = str(estimates["sha256"])[:12]
    if estimates.get("settings"):
        facts["settings"] = ", ".join(f"{name} {value}" for name, value in estimates["settings"].items())
    facts["references"] = f"{scores.data['name']}, layout {scores.data['layout']}"
    facts["tracks"] = f"{len(scores.tracks)}, {summary.audio_seconds:.0f} s of audio"
    if summary.model_seconds:
        facts["separated in"] = f"{summary.model_seconds:.1f} s"
    for name in scores.metrics:
        facts[name] = MEASURES[name].meaning
    facts["written by"] = f"unbraid {unbraid.__version__}"
    return facts


def _scores_table(scores: Scores, summary: Summary) -> str:
    """Value and interval of every measure, for all tracks, sources and kinds."""
    head = "".join(
        f'<th scope="col">{escape(name)}<br><small>{MEASURES[name].over_tracks}</small></th>'
        f'<th scope="col">95 %</th><th scope="col"><small>{_other_name(name)}</small></th>'
        for name in scores.metrics
    )
    rows = [_table_row("all", summary.overall, scores)]
    rows += [_table_row(group.name, group, scores) for group in summary.sources]
    for label, groups in summary.breakdowns.items():
        rows.append(f'<tr><th scope="rowgroup" colspan="{2 + 3 * len(scores.metrics)}">by {escape(label)}</th></tr>')
        rows += [_table_row(group.name, group, scores) for group in groups]
    return f"""<div class="wide"><table>
<caption>Over tracks, with 95 % bootstrap confidence intervals</caption>
<thead><tr><th scope="col"></th><th scope="col">n</th>{head}</tr></thead>
<tbody>
{"".join(rows)}
</tbody>
</table></div>
"""


def _table_row(name: str, group: Group, scores: Scores) -> str:
    cells = []
    for measure in scores.metrics:
        statistic = group.measures[measure]
        value, low, high = headline(statistic, measure)
        other = statistic.median if MEASURES[measure].over_tracks == "mean" else statistic.mean
        span = "" if math.isnan(low) else f"{decibels(low, digits=2)} to {decibels(high, digits=2)}"
        cells.append(
            f"<td><strong>{decibels(value, digits=2)}</strong></td><td>{span}</td>"
            f"<td>{decibels(other.value, digits=2)}</td>"
        )
    return f'<tr><th scope="row">{escape(name)}</th><td>{group.count}</td>{"".join(cells)}</tr>\n'


def _distributions(scores: Scores, summary: Summary) -> str:
    charts = []
    for measure in scores.metrics:
        unit = MEASURES[measure].unit
        label = f"{measure} in {unit}" if unit else measure
        groups = summary.sources or (summary.overall,)
        values = {group.name: _values(scores, measure, group.name if summary.sources else None) for group in groups}
        known = [value for own in values.values() for value in own if math.isfinite(value)]
        if len(scores.tracks) >= _FEWEST_TRACKS and known:
            for group in groups:
                statistic = group.measures[measure]
                charts.append(
                    histogram(
                        values[group.name],
                        title=f"{label}, {group.name}",
                        unit=unit,
                        marks=[("mean", statistic.mean.value), ("median", statistic.median.value)],
                        extent=(min(known), max(known)),
                    )
                )
        charts.append(interval_chart(_rows(summary, measure), title=f"{label}, with 95 % intervals", unit=unit))
    return f"""<section aria-labelledby="spread">
<h2 id="spread">How scores spread</h2>
<div class="columns">
{"".join(charts)}
</div>
</section>"""


def _values(scores: Scores, measure: str, source: str | None) -> list[float]:
    if source is None:
        return [track.value(measure) for track in scores.tracks]
    targets = [target for track in scores.tracks for target in track.targets if target.source == source]
    return [target.metrics.get(measure, math.nan) for target in targets]


def _rows(summary: Summary, measure: str) -> list[Row]:
    def row(group: Group) -> Row:
        value, low, high = headline(group.measures[measure], measure)
        return Row(name=group.name, count=group.measures[measure].count, value=value, low=low, high=high)

    rows = [row(summary.overall), *(row(group) for group in summary.sources)]
    for label, groups in summary.breakdowns.items():
        rows.append(Row(name=f"by {label}", count=0, value=math.nan, low=math.nan, high=math.nan, heading=True))
        rows += [row(group) for group in groups]
    return rows


def _item(passage: _Passage, scores: Scores, scale: Scale) -> str:
    score, gain = passage.score, common_gain(passage.sounds)
    end = passage.start_seconds + passage.mixture.seconds
    where = f"{passage.start_seconds:.1f} s to {end:.1f} s of {score.seconds:.1f} s"
    if passage.mixture.seconds < score.seconds - 0.05:
        where += ", where the error is greatest"
    labels = ", ".join(f"{name} {value}" for name, value in score.labels.items() if value != score.name)
    columns = []
    for target in score.targets:
        name = target.source
        reference, estimate = passage.references[name], passage.estimates[name]
        error = Recording(estimate.samples - reference.samples, reference.sample_rate)
        told = "" if target.estimate == name else f" (called {target.estimate} there)"
        columns.append(
            f"""<div>
<h4>{escape(name)}</h4>
{figure("Reference", f"{name} alone", reference, scale, gain, "mp3")}
{figure("Estimate", f"{name} as it was separated{told}", estimate, scale, gain, "mp3")}
{figure("Error", f"estimate minus reference of {name}", error, scale, min(gain, common_gain([error])), "mp3")}
</div>"""
        )
    return f"""<section>
<h3>{escape(score.name)}</h3>
<p class="note">{escape(where)}{f"; {escape(labels)}" if labels else ""}</p>
<div class="columns">
{figure("Mixture", "all sources together", passage.mixture, scale, gain, "mp3")}
<div>
{_targets_table(score, scores)}
</div>
</div>
<div class="columns">
{"".join(columns)}
</div>
</section>"""


def _targets_table(score: TrackScore, scores: Scores) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in scores.metrics)
    rows = [
        f'<tr><th scope="row">{escape(target.source)}</th>'
        + "".join(f"<td>{decibels(target.metrics.get(name, math.nan), digits=2)}</td>" for name in scores.metrics)
        + "</tr>"
        for target in score.targets
    ]
    return f"""<table>
<caption>Scores of the whole track</caption>
<thead><tr><th scope="col">source</th>{head}</tr></thead>
<tbody>
{"".join(rows)}
</tbody>
</table>"""


def _all_tracks(scores: Scores) -> str:
    """Every track, the worst first, folded away."""
    measure = scores.metrics[0]
    sign = 1 if MEASURES[measure].higher_is_better else -1
    ranked = sorted(scores.tracks, key=lambda track: (math.isnan(track.value(measure)), sign * track.value(measure)))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in scores.metrics)
    rows = [
        f'<tr><th scope="row">{escape(track.name)}</th><td>{track.seconds:.1f} s</td>'
        + "".join(f"<td>{decibels(track.value(name), digits=2)}</td>" for name in scores.metrics)
        + f"<td>{escape(', '.join(value for value in track.labels.values() if value != track.name))}</td></tr>\n"
        for track in ranked[:_MOST_TRACKS]
    ]
    more = f"<p>and {len(ranked) - _MOST_TRACKS} more</p>" if len(ranked) > _MOST_TRACKS else ""
    return f"""<section>
<details>
<summary>All {len(ranked)} tracks</summary>
<div class="wide"><table>
<caption>Means over sources, the worst by {escape(measure)} first</caption>
<thead><tr><th scope="col">track</th><th scope="col">length</th>{head}<th scope="col"></th></tr></thead>
<tbody>
{"".join(rows)}
</tbody>
</table></div>
{more}
</details>
</section>"""


def _other_name(measure: str) -> str:
    return "median" if MEASURES[measure].over_tracks == "mean" else "mean"
