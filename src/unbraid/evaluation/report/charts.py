"""Charts as SVG that stands inside a page: they take its colours, light or dark, and need no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.evaluation.report.page import decibels, escape

_WIDTH, _HEIGHT, _BOTTOM, _TOP = 640, 190, 34, 22
_ROW = 26
_LABEL_WIDTH = 190
_MOST_BINS = 24


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of an interval chart."""

    name: str
    count: int
    value: float
    low: float
    high: float
    heading: bool = False
    """A line that only names the lines below it."""


def histogram(
    values: Sequence[float],
    *,
    title: str,
    unit: str,
    marks: Sequence[tuple[str, float]] = (),
    extent: tuple[float, float] | None = None,
) -> str:
    """How many tracks score how much, with vertical marks such as the mean.

    extent: least and greatest value of the axis, for charts that stand side by side; by default those of the values.
    """
    known = np.array([value for value in values if math.isfinite(value)])
    if not len(known):
        return f"<p>{escape(title)}: nothing can be said of any track.</p>"
    ticks = _ticks(*(extent or (float(known.min()), float(known.max()))))
    low, high = ticks[0], ticks[-1]
    bins = max(1, min(_MOST_BINS, round(math.sqrt(len(known)) * 2)))
    counts, edges = np.histogram(known, bins=bins, range=(low, high))
    tallest = max(int(counts.max()), 1)
    base = _HEIGHT - _BOTTOM

    def across(value: float) -> float:
        return 10 + (_WIDTH - 20) * (value - low) / (high - low)

    width = (_WIDTH - 20) / bins - 1
    bars = [
        f'<rect class="bar" x="{across(edges[index]) + 0.5:.1f}" width="{width:.1f}" '
        f'y="{base - (base - _TOP) * count / tallest:.1f}" height="{(base - _TOP) * count / tallest:.1f}">'
        f"<title>{decibels(edges[index])} to {decibels(edges[index + 1])} {escape(unit)}: {count} tracks</title></rect>"
        for index, count in enumerate(counts)
        if count
    ]
    lines = [
        f'<line class="mark" x1="{across(value):.1f}" x2="{across(value):.1f}" y1="{_TOP - 6}" y2="{base}"/>'
        f'<text class="mark-name" x="{across(value):.1f}" y="{_TOP - 9}">{escape(name)}</text>'
        for name, value in _apart(marks, low, high)
        if math.isfinite(value)
    ]
    axis = [
        f'<line class="axis" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{base}" y2="{base + 5}"/>'
        f'<text x="{across(tick):.1f}" y="{base + 20}">{_tick_text(tick, ticks)}</text>'
        for tick in ticks
    ]
    spoken = ", ".join(f"{name} {decibels(value)} {unit}" for name, value in marks)
    label = f"{title}: {len(known)} tracks from {decibels(known.min())} to {decibels(known.max())} {unit}; {spoken}"
    return f"""<figure class="chart">
<figcaption>{escape(title)} <small>{len(known)} tracks, {tallest} in the highest bar</small></figcaption>
<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">
<line class="axis" x1="10" x2="{_WIDTH - 10}" y1="{base}" y2="{base}"/>
{"".join(bars)}
{"".join(lines)}
{"".join(axis)}
</svg></figure>"""


def interval_chart(rows: Sequence[Row], *, title: str, unit: str) -> str:
    """A dot and its confidence interval for every group, one below the other, so that overlaps are seen."""
    ends = [end for row in rows if not row.heading for end in (row.value, row.low, row.high) if math.isfinite(end)]
    if not ends:
        return ""
    ticks = _ticks(min(ends), max(ends))
    low, high = ticks[0], ticks[-1]
    base = _ROW * len(rows) + 10

    def across(value: float) -> float:
        return _LABEL_WIDTH + (_WIDTH - _LABEL_WIDTH - 60) * (value - low) / (high - low)

    parts = []
    for tick in ticks:
        x = across(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{base}"/>'
            f'<text x="{x:.1f}" y="{base + 18}">{_tick_text(tick, ticks)}</text>'
        )
    for index, row in enumerate(rows):
        y = _ROW * index + 18
        if row.heading:
            parts.append(f'<text class="name soft" x="0" y="{y + 5}">{escape(row.name)}</text>')
            continue
        parts.append(f'<text class="name" x="12" y="{y + 5}">{escape(row.name)} ({row.count})</text>')
        if math.isfinite(row.low) and math.isfinite(row.high):
            parts.append(
                f'<line class="span" x1="{across(row.low):.1f}" x2="{across(row.high):.1f}" y1="{y}" y2="{y}"/>'
            )
        if math.isfinite(row.value):
            parts.append(f'<circle class="dot" cx="{across(row.value):.1f}" cy="{y}" r="4.5"/>')
        parts.append(f'<text class="value" x="{_WIDTH}" y="{y + 5}">{decibels(row.value, digits=2)}</text>')
    spoken = ", ".join(f"{row.name} {decibels(row.value)}" for row in rows if not row.heading)
    return f"""<figure class="chart"><figcaption>{escape(title)}</figcaption>
<svg role="img" aria-label="{escape(f"{title}, in {unit}: {spoken}" if unit else f"{title}: {spoken}")}"
 viewBox="0 0 {_WIDTH} {base + 26}">
{"".join(parts)}
</svg></figure>"""


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around all values, four to eight of them."""
    span = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-6)
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _tick_text(tick: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    return decibels(tick + 0.0, digits=max(0, -math.floor(math.log10(step) + 1e-9)))


def _apart(marks: Sequence[tuple[str, float]], low: float, high: float) -> list[tuple[str, float]]:
    """Marks that would write over each other share one text at the first of them."""
    placed: list[tuple[str, float]] = []
    for name, value in sorted(marks, key=lambda mark: mark[1]):
        if placed and (value - placed[-1][1]) / (high - low) < 0.12:
            placed[-1] = (f"{placed[-1][0]}, {name}", placed[-1][1])
            placed.append(("", value))
        else:
            placed.append((name, value))
    return placed
