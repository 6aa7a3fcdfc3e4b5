"""Does memory grow with the recording? Peak of `unbraid separate` on stereo 44.1 kHz files of different lengths."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from unbraid import build_model, save_model

RATE = 44_100


def write_recording(path: Path, minutes: float) -> None:
    """Stereo noise with a level that changes, so that no two chunks are alike."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16", format="RF64") as file:
        for second in range(round(minutes * 60)):
            file.write(0.05 * (1 + np.sin(second / 7)) * rng.standard_normal((RATE, 2)))


def peak_megabytes(recording: Path, model: str, out: Path) -> tuple[float, float]:
    """Largest resident size of the whole process, and its CPU seconds."""
    command = [sys.executable, "-m", "unbraid.cli.main", "separate", str(recording), "-n", model, "-o", str(out), "-q"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"separating {recording.name} failed with status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def run(minutes: tuple[float, ...] = (3, 30), model: str | None = None, folder: str | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        if model is None:
            # What is measured is the way around the model, so a model that costs next to nothing will do.
            small = build_model("s4m-tiny", kernel_ms=8.0, hidden_dim=16, bottleneck_dim=8, num_rounds=1, depth=3)
            model = str(save_model(small, root / "small.safetensors"))
        first = None
        for length in minutes:
            recording = root / f"{length:g}-minutes.wav"
            write_recording(recording, length)
            size, cpu = peak_megabytes(recording, model, root / "out")
            first = first or size
            stems = sorted((root / "out").rglob("*.wav"))
            largest = max(stem.stat().st_size for stem in stems) / 2**30
            print(
                f"{length:6g} minutes: {size:7.0f} MB peak, x{size / first:.3f}, {cpu:7.1f} CPU s, "
                f"stems of {largest:.2f} GiB",
                flush=True,
            )
            recording.unlink()
            for stem in stems:
                stem.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 180])
    parser.add_argument("--model")
    parser.add_argument("--folder", help="where the files go: they need some 30 GB for 3 hours")
    options = parser.parse_args()
    run(tuple(options.minutes), options.model, options.folder)
