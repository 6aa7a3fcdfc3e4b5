"""Pictures of sounds: waveform above spectrogram, on one scale for all pictures of a page so that they compare.

Levels are in dB against a sine of full scale. Drawing needs matplotlib, the extra `report`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.signal.stft import stft
from unbraid.signal.windows import build_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PIXELS, HEIGHT_PIXELS = 900, 380
HIGHEST_HZ = 8000.0
"""Speech has little above."""
RANGE_DB = 70.0
"""From the loudest bin of a page down to what is drawn as silence."""
_WINDOW_SECONDS = 0.032
_LOWEST_DB = -200.0
_NUM_LEVELS = 64
_COLORS = ("#ffffff", "#d7e3f4", "#86abdc", "#4659b0", "#2c1e6e", "#0d0626")
"""From silence to loud. Lightness falls all the way, so that the picture also reads in grey and inverted."""
_DOTS_PER_INCH = 100


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What pictures must share to be compared."""

    peak: float
    """Amplitude at the edge of the waveforms; full scale is 1."""
    top_db: float
    """Level of the strongest colour."""
    highest_hz: float = HIGHEST_HZ
    """Upper edge of the spectrograms; lower rates end at their Nyquist frequency."""


def check_drawing() -> None:
    """Raises MissingExtraError where matplotlib is not installed, before any work is done for pictures."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "drawing pictures of sounds") from error


def common_scale(recordings: Sequence[Recording], highest_hz: float = HIGHEST_HZ) -> Scale:
    """The scale that holds all of them; silence gets that of a full-scale signal."""
    if not recordings:
        raise ConfigError("there is nothing to draw", remedy="give at least one recording")
    peak = max((float(np.abs(one.samples).max(initial=0.0)) for one in recordings), default=0.0)
    top = max(float(log_spectrogram(one, highest_hz).max(initial=_LOWEST_DB)) for one in recordings)
    return Scale(peak=peak or 1.0, top_db=top if top > _LOWEST_DB else 0.0, highest_hz=highest_hz)


def log_spectrogram(recording: Recording, highest_hz: float = HIGHEST_HZ) -> np.ndarray:
    """(freq, frame) in dB from 0 Hz to the lower of Nyquist and `highest_hz`, the power averaged over channels."""
    n_fft = 2 ** round(np.log2(_WINDOW_SECONDS * recording.sample_rate))
    window = build_window("hann", n_fft)
    if recording.num_samples == 0:
        return np.zeros((n_fft // 2 + 1, 0), np.float32)
    spectrum = stft(torch.from_numpy(recording.samples), n_fft, n_fft // 4, window)
    power = spectrum.double().square().sum(dim=1).mean(dim=0) * (2 / float(window.sum())) ** 2
    levels = 10 * torch.log10(power.clamp(min=10 ** (_LOWEST_DB / 10)))
    return levels[: 1 + int(_highest(recording, highest_hz) * n_fft / recording.sample_rate)].float().numpy()


def draw_sound(recording: Recording, scale: Scale) -> bytes:
    """A PNG of `WIDTH_PIXELS` by `HEIGHT_PIXELS`: waveform above spectrogram, black on white.

    Raises MissingExtraError where matplotlib is not installed.
    """
    check_drawing()
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    # A Figure without pyplot keeps no global state and needs no display.
    figure = Figure(figsize=(WIDTH_PIXELS / _DOTS_PER_INCH, HEIGHT_PIXELS / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
    wave = figure.add_axes((0.095, 0.76, 0.79, 0.21))
    spectrum = figure.add_axes((0.095, 0.145, 0.79, 0.57), sharex=wave)
    bar = figure.add_axes((0.9, 0.145, 0.016, 0.57))
    _draw_waveform(wave, recording, scale)
    seconds = max(recording.seconds, 1 / recording.sample_rate)
    image = spectrum.imshow(
        log_spectrogram(recording, scale.highest_hz),
        origin="lower",
        aspect="auto",
        interpolation="antialiased",
        cmap=LinearSegmentedColormap.from_list("level", _COLORS, N=_NUM_LEVELS),
        vmin=scale.top_db - RANGE_DB,
        vmax=scale.top_db,
        extent=(0.0, seconds, 0.0, _highest(recording, scale.highest_hz) / 1000),
    )
    spectrum.set_xlabel("time (s)", fontsize=13)
    spectrum.set_ylabel("frequency (kHz)", fontsize=13)
    spectrum.tick_params(labelsize=12)
    spectrum.set_xlim(0.0, seconds)
    figure.colorbar(image, cax=bar)
    bar.set_ylabel("level (dB)", fontsize=13)
    bar.tick_params(labelsize=12)
    return png_bytes(figure)


def _draw_waveform(axes: Axes, recording: Recording, scale: Scale) -> None:
    """The span between the lowest and the highest sample of every column of pixels."""
    num_columns = min(WIDTH_PIXELS, max(recording.num_samples, 1))
    edges = np.linspace(0, recording.num_samples, num_columns, endpoint=False).astype(int)
    if recording.num_samples:
        low = np.minimum.reduceat(recording.samples.min(axis=0), edges)
        high = np.maximum.reduceat(recording.samples.max(axis=0), edges)
        axes.fill_between(edges / recording.sample_rate, low, high, color="#3b2a6d", linewidth=0.6, step="post")
    axes.set_ylim(-1.05 * scale.peak, 1.05 * scale.peak)
    axes.set_ylabel("amplitude", fontsize=13)
    axes.tick_params(labelsize=12, labelbottom=False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#cccccc", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def png_bytes(figure: Figure, *, rare_colours: bool = False) -> bytes:
    """A picture with a palette, which the eye does not notice and which makes the file a third as large.

    `rare_colours` spends the palette on all colours alike, not on the most frequent ones: for several scales in one
    picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    packed = io.BytesIO()
    method = Image.Quantize.MAXCOVERAGE if rare_colours else Image.Quantize.MEDIANCUT
    colours = 256 if rare_colours else 2 * _NUM_LEVELS
    picture.quantize(colours, method, dither=Image.Dither.NONE).save(packed, "png", optimize=True)
    return packed.getvalue()


def _highest(recording: Recording, highest_hz: float) -> float:
    return min(recording.sample_rate / 2, highest_hz)
