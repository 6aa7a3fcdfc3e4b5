"""Pictures of estimates without and with super-resolution, above and below a split, all on the mixture's scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unbraid.errors import MissingExtraError
from unbraid.inspection.refinement import RefinementAnalysis, StemSpectrogram
from unbraid.pictures.files import write_together
from unbraid.pictures.png import png_bytes

_RANGE_DB = 70.0


def write_refinement(analysis: RefinementAnalysis, folder: Path) -> list[Path]:
    """Writes `spectrograms.npz` and a picture per stem, `spectrogram-speaker1.png` and so on. Returns their paths.

    The arrays are called mixture_db, NAME_with_db, NAME_without_db, NAME_changed_db (below and above the split),
    split_hz, bin_hz and frame_seconds. Raises MissingExtraError where matplotlib is not installed.
    """
    pictures = {f"spectrogram-{stem.name}.png": draw_stem(stem, analysis) for stem in analysis.stems}
    arrays = {key: np.array(getattr(analysis, key)) for key in ("mixture_db", "split_hz", "bin_hz", "frame_seconds")}
    for stem in analysis.stems:
        arrays[f"{stem.name}_with_db"] = stem.with_db
        if stem.without_db is not None and stem.changed_db is not None:
            arrays[f"{stem.name}_without_db"] = stem.without_db
            arrays[f"{stem.name}_changed_db"] = np.array(stem.changed_db)
    return write_together(pictures, arrays, folder, name="spectrograms.npz")


def draw_stem(stem: StemSpectrogram, analysis: RefinementAnalysis) -> bytes:
    """A PNG: above the split in the upper row, below it in the lower one; the mixture, then the estimate without and
    with super-resolution. Raises MissingExtraError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "drawing spectrograms") from error
    columns = [("mixture", analysis.mixture_db), ("without", stem.without_db), ("with", stem.with_db)]
    if stem.without_db is None:
        columns = [("mixture", analysis.mixture_db), (stem.name, stem.with_db)]
    shown = [(title, level) for title, level in columns if level is not None]
    figure = Figure(figsize=(4.2 * len(shown), 5.6), dpi=100, layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False, sharex=True)
    split, highest = analysis.split_bin, len(analysis.mixture_db)
    seconds = analysis.mixture_db.shape[1] * analysis.frame_seconds
    image = None
    for row, (first, last) in enumerate(((split, highest), (0, split))):
        for panel, (title, level) in zip(panels[row], shown, strict=True):
            extent = (0.0, seconds, first * analysis.bin_hz / 1000, last * analysis.bin_hz / 1000)
            image = panel.imshow(
                level[first:last], vmin=-_RANGE_DB, vmax=0, cmap="magma", origin="lower", aspect="auto", extent=extent
            )
            changed = ""
            if title == "with" and stem.changed_db is not None:
                changed = f", changed by {stem.changed_db[1 - row]:.0f} dB"
            panel.set_title(f"{title}{changed}", fontsize=11)
        panels[row][0].set_ylabel("frequency (kHz)")
    for panel in panels[1]:
        panel.set_xlabel("time (s)")
    if image is not None:
        figure.colorbar(image, ax=panels, label="level (dB)")
    figure.suptitle(f"{stem.name}, above and below {analysis.split_hz:g} Hz", fontsize=12)
    return png_bytes(figure, rare_colours=True)
