"""Pictures of what MTFA finds alike: one per level, every map on the scale of even attention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.errors import MissingExtraError
from unbraid.inspection.similarity import SimilarityAnalysis, SimilarityMap
from unbraid.pictures.files import write_together
from unbraid.pictures.png import png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RANGE_DB = 70.0
_COLUMNS = 4
_RANGES_LOG2 = (0.25, 3.0)
"""Colours reach at least, and at most, so far from even attention in both directions."""


def write_similarity(analysis: SimilarityAnalysis, folder: Path) -> list[Path]:
    """Writes `attention.npz` and a picture per level, `attention-E3.png` and so on. Returns their paths.

    The arrays are called PLACE_time and PLACE_frequency (with _by_N where N neighbours were averaged), PLACE_time_step
    (s) and PLACE_frequency_step (Hz), and level_db. Raises MissingExtraError where matplotlib is not installed.
    """
    places = dict.fromkeys(one.place for one in analysis.maps)
    pictures = {
        f"attention-{place}.png": draw_level([one for one in analysis.maps if one.place == place], analysis)
        for place in places
    }
    arrays = {"level_db": analysis.level_db}
    for one in analysis.maps:
        arrays |= {one.name: one.weights, f"{one.name}_step": np.array(one.step)}
    return write_together(pictures, arrays, folder)


def draw_level(maps: Sequence[SimilarityMap], analysis: SimilarityAnalysis) -> bytes:
    """A PNG: the recording, after how long it comes again, then one map per axis and head.

    Raises MissingExtraError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "drawing attention") from error
    heads = [(one, head) for one in maps for head in range(len(one.weights))]
    rows = -(-len(heads) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 2.8 + 3.6 * rows), dpi=80, layout="constrained")
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=[0.8] + [1.0] * rows)
    _draw_recording(figure.add_subplot(grid[0, :2]), analysis)
    _draw_distances(figure.add_subplot(grid[0, 2:]), maps)
    image, reach = None, float(np.quantile([np.quantile(np.abs(_log_shares(*pair)), 0.999) for pair in heads], 0.5))
    reach = min(max(reach, _RANGES_LOG2[0]), _RANGES_LOG2[1])
    for index, (one, head) in enumerate(heads):
        panel = figure.add_subplot(grid[1 + index // _COLUMNS, index % _COLUMNS])
        image = _draw_map(panel, one, head, reach)
    if image is not None:
        figure.colorbar(image, ax=figure.axes[2:], label="attention, times even (log2)", location="bottom", aspect=60)
    figure.suptitle(f"{maps[0].place}: what is alike", fontsize=13)
    return png_bytes(figure)


def _draw_recording(panel: Axes, analysis: SimilarityAnalysis) -> None:
    level = analysis.level_db
    extent = (0.0, level.shape[1] * analysis.frame_seconds, 0.0, level.shape[0] * analysis.bin_hz / 1000)
    panel.imshow(level, vmin=-_RANGE_DB, vmax=0, cmap="magma", origin="lower", aspect="auto", extent=extent)
    panel.set(title="recording, level (dB)", xlabel="time (s)", ylabel="frequency (kHz)")


def _draw_distances(panel: Axes, maps: Sequence[SimilarityMap]) -> None:
    """Half of the longest distance: beyond, few pairs are left to average."""
    for one in maps:
        if one.axis != "time":
            continue
        shares = one.by_distance().mean(axis=0)
        half = max(2, len(shares) // 2 + 1)
        label = "every frame" if one.scale == 1 else f"{one.scale} frames averaged"
        panel.plot(one.step * np.arange(len(shares))[1:half], shares[1:half], label=label)
    panel.axhline(1.0, color="#999999", linewidth=0.8)
    panel.set(title="attention by distance in time (1: even)", xlabel="seconds later or earlier")
    if panel.lines[1:]:
        panel.legend(fontsize=8)


def _draw_map(panel: Axes, one: SimilarityMap, head: int, reach: float) -> Any:
    unit = "s" if one.axis == "time" else "kHz"
    size = one.weights.shape[-1] * one.step / (1 if one.axis == "time" else 1000)
    image = panel.imshow(
        _log_shares(one, head),
        origin="lower",
        extent=(0.0, size, 0.0, size),
        vmin=-reach,
        vmax=reach,
        cmap="RdBu_r",
        interpolation="nearest",
    )
    by = f", {one.scale} averaged" if one.scale > 1 else ""
    panel.set(title=f"{one.axis}, head {head + 1}{by}", xlabel=f"looked at ({unit})", ylabel=f"{one.axis} ({unit})")
    return image


def _log_shares(one: SimilarityMap, head: int) -> np.ndarray:
    weights = one.weights[head]
    return np.log2(weights / weights.mean() + 1e-6)
