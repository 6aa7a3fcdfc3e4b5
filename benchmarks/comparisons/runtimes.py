"""What do bundled models cost and score in onnxruntime, in float32, float16 and int8, beside PyTorch?

python -m benchmarks.comparisons.runtimes --corpus CORPUS [NAME ...]

Scores are the mean over the first tracks of the model's own validation list. CPU seconds are those of pieces of 8 s,
each the least of a few taken in turn.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks import machine
from unbraid.evaluation.estimates import ModelEstimates
from unbraid.evaluation.evaluate import TrackScored, evaluate
from unbraid.evaluation.measures import find_measures
from unbraid.evaluation.tracks import TrackList, open_list
from unbraid.models.contract import SeparationModel
from unbraid.models.exporting import exportable_core
from unbraid.separation.backends.onnxruntime import load_onnx
from unbraid.separation.process import tune_process
from unbraid.weights.portable import export_program
from unbraid.weights.precision import Precision, change_precision
from unbraid.weights.store import load_model

NAMES = ("speech", "speech-noisy", "cinematic", "music")
SECONDS = 8.0


def score(model: SeparationModel, tracks: TrackList) -> float:
    """Mean SI-SDR over tracks and sources; those without a reference count nothing."""
    values = [
        target.metrics["SI-SDR"]
        for event in evaluate(ModelEstimates(model, device="cpu", whole=False), tracks, find_measures("si-sdr"))
        if isinstance(event, TrackScored)
        for target in event.score.targets
    ]
    return float(np.nanmean(values))


def differences(models: dict[str, SeparationModel], repeats: int) -> dict[str, tuple[float, float]]:
    """CPU seconds per second of audio, and the largest difference to PyTorch over the largest sample."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    spec = models["torch"].spec
    torch.manual_seed(0)
    mixture = 0.1 * torch.randn(1, spec.num_channels, round(SECONDS * spec.sample_rate))
    results = {}
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for name, model in models.items():
                began = time.process_time()
                results[name] = model(mixture)
                taken[name].append((time.process_time() - began) / SECONDS)
    truth = results["torch"]
    return {
        name: (min(taken[name][1:]), float((made - truth).abs().max() / truth.abs().max()))
        for name, made in results.items()
    }


def run(corpus: Path, names: tuple[str, ...], tracks: int, repeats: int) -> None:
    print("| model | runs as | MB | CPU seconds per second | ratio | largest difference | SI-SDR, dB |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        listed = open_list(f"{name}-valid", corpus).first(tracks)
        with tempfile.TemporaryDirectory() as folder:
            models, sizes = {"torch": load_model(name)}, {"torch": ""}
            first = export_program(models["torch"], Path(folder, "first.onnx"), "onnx", name=name)
            fixed = [key for key, _ in exportable_core(models["torch"]).module.named_buffers()]
            for precision in get_args(Precision):
                path = Path(shutil.copy(first, Path(folder, f"{precision}.onnx")))
                change_precision(path, precision, fixed=fixed)
                models[precision] = load_onnx(path)
                sizes[precision] = f"{path.stat().st_size / 2**20:.1f}"
            measured = differences(models, repeats)
            for kind, (cpu, largest) in measured.items():
                ratio, reached = cpu / measured["torch"][0], score(models[kind], listed)
                figures = f"{sizes[kind]} | {cpu:.3f} | {ratio:.2f} | {largest:.1e} | {reached:.2f}"
                print(f"| {name} | {kind} | {figures} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    options = parser.parse_args()
    tune_process()
    print(machine.describe())
    run(options.corpus, tuple(options.names), options.tracks, options.repeats)
