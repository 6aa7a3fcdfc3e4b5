"""What a page says of all tracks together: scores with their intervals, how they spread, and every track in a line."""

from __future__ import annotations

import math

from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.report.charts import Row, histogram, interval_chart
from unbraid.evaluation.report.page import decibels, escape
from unbraid.evaluation.scores import Scores
from unbraid.evaluation.summary import Group, Summary, headline

_MOST_TRACKS = 2000
"""Lines of the table of all tracks."""
_FEWEST_TRACKS = 3
"""Fewer have no distribution to show."""


def scores_section(scores: Scores, summary: Summary) -> str:
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
    return f"""<section aria-labelledby="scores">
<h2 id="scores">Scores</h2>
<div class="wide"><table>
<caption>Over tracks, with 95 % bootstrap confidence intervals</caption>
<thead><tr><th scope="col"></th><th scope="col">n</th>{head}</tr></thead>
<tbody>
{"".join(rows)}
</tbody>
</table></div>
</section>"""


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


def distributions(scores: Scores, summary: Summary) -> str:
    """A histogram of every measure and source, and the intervals of all groups below each other."""
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


def all_tracks(scores: Scores) -> str:
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
