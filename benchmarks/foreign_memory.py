"""Memory of htdemucs on a long recording: its package's own way, and ours, each in a process of its own.

python -m benchmarks.foreign_memory [MINUTES]

Random weights in a narrow network of the published depth and segment. What is separated is written nowhere, so that
memory is what the separation takes.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from unbraid.models.catalog import build_model
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.separation.separator import Separator

RATE = 44_100
SMALL = {"channels": 8, "t_layers": 1, "bottom_channels": 32}
"""Narrower than the published network, so that a run takes minutes: memory over time does not depend on the width."""


def theirs(recording: Path) -> None:
    from demucs.apply import apply_model

    model = build_model(DemucsConfig(arguments=dict(SMALL)))
    samples, _ = soundfile.read(recording, dtype="float32", always_2d=True)
    mixture = torch.from_numpy(samples.T)
    # As demucs.api does it: mean and deviation of the whole, then chunks.
    reference = mixture.mean(0)
    scaled = (mixture - reference.mean()) / (reference.std() + 1e-8)
    apply_model(model.network, scaled[None], shifts=0, split=True, overlap=0.25)


def ours(recording: Path) -> None:
    for _ in Separator(build_model(DemucsConfig(arguments=dict(SMALL)))).stream(recording):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=30.0)
    parser.add_argument("--way", choices=("theirs", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--recording", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    if settings.way:
        {"theirs": theirs, "ours": ours}[settings.way](settings.recording)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        return
    with TemporaryDirectory() as folder:
        recording = Path(folder) / "noise.wav"
        with soundfile.SoundFile(recording, "w", RATE, 2) as file:
            for second in range(round(settings.minutes * 60)):
                file.write(np.random.default_rng(second).normal(0, 0.1, (RATE, 2)))
        peaks = {}
        for way in ("theirs", "ours"):
            command = [sys.executable, "-m", "benchmarks.foreign_memory", "--way", way, "--recording", str(recording)]
            peaks[way] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(f"{settings.minutes:g} min of stereo, {way}: {peaks[way]:.0f} MiB at most", flush=True)
    print(f"ratio {peaks['theirs'] / peaks['ours']:.1f}")


if __name__ == "__main__":
    main()
