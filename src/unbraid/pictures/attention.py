"""Pictures of attention: where each head looks, beside the sound it looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.errors import MissingExtraError
from unbraid.inspection.attention import AttentionAnalysis, AttentionMap, BiasMap
from unbraid.pictures.files import write_together
from unbraid.pictures.png import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE_DB = 70.0
_OCTAVES = 1.5
"""From a third of the usual attention to three times as much."""
_ARRAYS = ("level_db", "received", "by_band", "moved", "band_confidence", "bin_confidence")
_BIAS_RANGE = 20.0
"""A score this far below another is not looked at any more."""


def write_attention(analysis: AttentionAnalysis, folder: Path) -> list[Path]:
    """Writes `attention.npz` and pictures: two per signal, one per half's positional bias. Returns their paths.

    The arrays are called NAME_level_db, NAME_received, NAME_by_band, NAME_moved, NAME_band_confidence and
    NAME_bin_confidence for every signal, and HALF_bias_initial and HALF_bias_learned. All files get their names
    together, or none does. Raises MissingExtraError where matplotlib is not installed.
    """
    pictures = {f"attention-{one.name}.png": draw_map(one, analysis) for one in analysis.maps}
    pictures |= {f"confidence-{one.name}.png": draw_confidence(one, analysis) for one in analysis.maps}
    pictures |= {f"bias-{one.half}.png": draw_bias(one, analysis) for one in analysis.biases}
    arrays: dict[str, np.ndarray] = {
        "bin_hz": np.array(analysis.bin_hz),
        "frame_seconds": np.array(analysis.frame_seconds),
    }
    for one in analysis.maps:
        arrays |= {f"{one.name}_{key}": getattr(one, key) for key in _ARRAYS}
    for bias in analysis.biases:
        arrays |= {f"{bias.half}_bias_{key}": getattr(bias, key) for key in ("initial", "learned")}
    return write_together(pictures, arrays, folder)


def draw_map(one: AttentionMap, analysis: AttentionAnalysis) -> bytes:
    """A PNG: the spectrogram and how far each band follows it; then, head by head, the attention that each bin gets.

    On the left that is the attention as it is, most of which goes where the bands lie; on the right against its own
    mean over time, which leaves what the input has drawn.
    """
    num_heads = one.received.shape[0]
    figure, panels = _panels(2 + 2 * num_heads)
    seconds = one.level_db.shape[1] * analysis.frame_seconds
    highest = one.level_db.shape[0] * analysis.bin_hz / 1000
    where: dict[str, Any] = {"origin": "lower", "aspect": "auto", "extent": (0.0, seconds, 0.0, highest)}
    image = panels[0].imshow(one.level_db, vmin=-_RANGE_DB, vmax=0, cmap="magma", **where)
    panels[0].set_title(f"{one.name}: level (dB)", fontsize=11)
    figure.colorbar(image, ax=panels[0])
    for head, shares in enumerate(one.moved):
        panels[1].plot(np.arange(len(shares)), 100 * shares, label=f"head {head + 1}: {100 * shares.mean():.0f} %")
    panels[1].set_title("weight that follows the input (%)", fontsize=11)
    panels[1].set_xlabel("band")
    panels[1].set_ylim(bottom=0)
    panels[1].legend()
    shares = np.log10(one.received + 1e-6)
    low, high = np.quantile(shares, [0.05, 0.999])
    drawn = np.log2((one.received + 1e-6) / (one.received.mean(axis=-1, keepdims=True) + 1e-6))
    for head in range(num_heads):
        panel, beside = panels[2 + 2 * head], panels[3 + 2 * head]
        image = panel.imshow(shares[head], vmin=low, vmax=high, cmap="viridis", **where)
        panel.set_title(f"head {head + 1}: attention received (log10)", fontsize=11)
        figure.colorbar(image, ax=panel)
        image = beside.imshow(drawn[head], vmin=-_OCTAVES, vmax=_OCTAVES, cmap="RdBu_r", **where)
        beside.set_title(f"head {head + 1}: against its mean over time (log2)", fontsize=11)
        figure.colorbar(image, ax=beside)
    for panel in (panels[0], *panels[2:]):
        panel.set_xlabel("time (s)")
        panel.set_ylabel("frequency (kHz)")
    return png_bytes(figure, rare_colours=True)


def draw_confidence(one: AttentionMap, analysis: AttentionAnalysis) -> bytes:
    """A PNG: the spectrogram; how sure each bin is of its bands, as it is and against its mean over time; how sure each
    band is of its bins."""
    figure, panels = _panels(4)
    seconds = one.level_db.shape[1] * analysis.frame_seconds
    highest = one.level_db.shape[0] * analysis.bin_hz / 1000
    changed = one.bin_confidence - one.bin_confidence.mean(axis=-1, keepdims=True)
    reach = max(float(np.quantile(np.abs(changed), 0.999)), 1e-3)
    drawn: tuple[tuple[str, np.ndarray, float, dict[str, Any]], ...] = (
        (f"{one.name}: level (dB)", one.level_db, highest, {"vmin": -_RANGE_DB, "vmax": 0, "cmap": "magma"}),
        ("confidence of bins (1: one band)", one.bin_confidence, highest, {"cmap": "viridis"}),
        ("against its mean over time", changed, highest, {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}),
        ("confidence of bands (1: one bin)", one.band_confidence, len(one.band_confidence), {"cmap": "viridis"}),
    )
    for panel, (title, values, top, colours) in zip(panels, drawn, strict=True):
        image = panel.imshow(values, origin="lower", aspect="auto", extent=(0.0, seconds, 0.0, top), **colours)
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("time (s)")
        panel.set_ylabel("band" if top == len(one.band_confidence) else "frequency (kHz)")
        figure.colorbar(image, ax=panel)
    return png_bytes(figure, rare_colours=True)


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
