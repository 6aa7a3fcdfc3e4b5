"""Pictures of attention: where each head looks, beside the sound it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.errors import MissingExtraError
from unbraid.evaluation.attention import AttentionAnalysis, AttentionMap, BiasMap
from unbraid.evaluation.plots import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE_DB = 70.0
_BIAS_RANGE = 20.0
"""A score this far below another is not looked at any more."""


def draw_map(one: AttentionMap, analysis: AttentionAnalysis) -> bytes:
    """A PNG: the spectrogram, then the attention that each bin receives, head by head, on one logarithmic scale."""
    num_heads = one.received.shape[0]
    figure, panels = _panels(1 + num_heads)
    seconds = one.level_db.shape[1] * analysis.frame_seconds
    highest = one.level_db.shape[0] * analysis.bin_hz / 1000
    where: dict[str, Any] = {"origin": "lower", "aspect": "auto", "extent": (0.0, seconds, 0.0, highest)}
    image = panels[0].imshow(one.level_db, vmin=-_RANGE_DB, vmax=0, cmap="magma", **where)
    panels[0].set_title(f"{one.name}: level (dB)", fontsize=11)
    figure.colorbar(image, ax=panels[0])
    shares = np.log10(one.received + 1e-6)
    low, high = np.quantile(shares, [0.05, 0.999])
    for head in range(num_heads):
        panel = panels[1 + head]
        image = panel.imshow(shares[head], vmin=low, vmax=high, cmap="viridis", **where)
        panel.set_title(f"head {head + 1}: attention received (log10)", fontsize=11)
        figure.colorbar(image, ax=panel)
    for panel in panels:
        panel.set_xlabel("time (s)")
        panel.set_ylabel("frequency (kHz)")
    return png_bytes(figure)


def draw_bias(one: BiasMap, analysis: AttentionAnalysis) -> bytes:
    """A PNG: the bias before training, then the learned one of each head."""
    figure, panels = _panels(1 + len(one.learned))
    num_bands, num_freqs = one.initial.shape
    extent = (0.0, num_freqs * analysis.bin_hz / 1000, 0.0, float(num_bands))
    titles = ["initial", *(f"head {head + 1}, learned" for head in range(len(one.learned)))]
    for panel, values, title in zip(panels, [one.initial, *one.learned], titles, strict=True):
        image = panel.imshow(
            values, origin="lower", aspect="auto", extent=extent, vmin=-_BIAS_RANGE, vmax=2, cmap="cividis"
        )
        panel.set_title(f"{one.half} bias: {title}", fontsize=11)
        panel.set_xlabel("frequency (kHz)")
        panel.set_ylabel("band")
        figure.colorbar(image, ax=panel)
    return png_bytes(figure)


def _panels(count: int) -> tuple[Figure, list[Any]]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "drawing attention") from error
    columns = 2 if count > 1 else 1
    rows = -(-count // columns)
    figure = Figure(figsize=(6.0 * columns, 3.0 * rows), dpi=100, layout="constrained")
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    return figure, panels
