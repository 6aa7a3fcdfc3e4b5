"""Draws docs/pictures/stems.png: the film example, and what a bundled model separates it into, on one scale.

python -m benchmarks.pages.stems_picture
"""

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.mlab import specgram

import unbraid
from unbraid.pictures.png import png_bytes

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "examples" / "film" / "film-1" / "mixture.flac"
PICTURE = ROOT / "docs" / "pictures" / "stems.png"
HIGHEST_HZ = 8000.0
RANGE_DB = 70.0
"""From the loudest bin of all down to white."""
N_FFT = 512
COLOURS = LinearSegmentedColormap.from_list("level", ("#ffffff", "#d7e3f4", "#86abdc", "#4659b0", "#2c1e6e", "#0d0626"))


def levels_of(recording: unbraid.Recording) -> np.ndarray:
    """(freq, frame) in dB, up to `HIGHEST_HZ`."""
    power, hertz, _ = specgram(recording.samples[0], N_FFT, recording.sample_rate, noverlap=N_FFT * 3 // 4)
    return 10 * np.log10(power[hertz <= HIGHEST_HZ] + 1e-20)


def draw(sounds: dict[str, unbraid.Recording]) -> bytes:
    """The first above the others, which stand side by side."""
    levels = {name: levels_of(recording) for name, recording in sounds.items()}
    top = max(float(level.max()) for level in levels.values())
    figure = Figure(figsize=(10, 4.6), dpi=100, layout="constrained")
    (mixture, *stems) = sounds
    axes = figure.subplot_mosaic([[mixture] * len(stems), stems])
    for name, recording in sounds.items():
        axes[name].imshow(
            levels[name],
            origin="lower",
            aspect="auto",
            cmap=COLOURS,
            vmin=top - RANGE_DB,
            vmax=top,
            extent=(0.0, recording.seconds, 0.0, HIGHEST_HZ / 1000),
        )
        axes[name].set_title(name, fontsize=13)
        axes[name].set_xlabel("time (s)")
    for name in (mixture, stems[0]):
        axes[name].set_ylabel("frequency (kHz)")
    return png_bytes(figure)


if __name__ == "__main__":
    stems = unbraid.Separator("cinematic").separate(RECORDING)
    PICTURE.write_bytes(draw({"mixture": unbraid.Recording.read(RECORDING), **stems}))
    print(PICTURE)
