"""What do the three compressions reach around one separator, and at which cost? A table of runs, by number of bands.

unbraid train cinematic-bs-32 --data CORPUS --out runs/bs-32                # and so on
unbraid evaluate runs/bs-32/best.safetensors CORPUS --list cinematic-test --metrics SNR,SNRi,SI-SDR,SI-SDRi \
    --json runs/bs-32/scores.json
python -m benchmarks.compression_quality runs/bs-32 runs/sfc-mamba-32 runs/sfc-ca-32

Differences are paired by scene, against the first run with as many bands. Their intervals say how sure they are for
these weights; another seed would have given other weights.
"""

import argparse
import time
from itertools import groupby
from pathlib import Path

import torch

from benchmarks import machine
from unbraid.evaluation.compare import compare
from unbraid.evaluation.profile import count_macs, noise
from unbraid.evaluation.scores import Scores, read_scores
from unbraid.inference.process import tune_process
from unbraid.models.sfc.model import SFC
from unbraid.weights.store import load_model

SECONDS = 12.0


def run(folders: list[Path], repeats: int = 3) -> None:
    models = {folder: load_model(str(folder / "best.safetensors")) for folder in folders}
    scores = {folder: read_scores(folder / "scores.json") for folder in folders}
    cpu = _cpu_seconds(models, repeats)
    columns = (
        "run | parameters | GMAC/s | CPU s per s | SNRi | dialogue | music | effects | against the first | SI-SDRi"
    )
    for bands, group in groupby(folders, lambda folder: _bands(models[folder])):
        print(f"\n{bands} bands\n\n| {columns} | against the first |\n|{'---|' * 11}")
        first = None
        for folder in group:
            model = models[folder]
            count = sum(parameter.numel() for parameter in model.parameters())
            macs = count_macs(model, noise(model, SECONDS))[""] / SECONDS / 1e9
            cost = f"{count:,} | {macs:.2f} | {cpu[folder] / SECONDS:.3f}"
            first = first or scores[folder]
            gains = " | ".join(_against(first, scores[folder], measure) for measure in ("SNRi", "SI-SDRi"))
            print(f"| {folder.name} | {cost} | {gains} |", flush=True)


def _bands(model: torch.nn.Module) -> int:
    if not isinstance(model, SFC):
        raise SystemExit(f"{type(model).__name__} has no bands: name runs of SFC")
    return model.config.num_bands


def _cpu_seconds(models: dict[Path, torch.nn.Module], repeats: int) -> dict[Path, float]:
    """For one chunk, the least of so many; in turn, so that whatever else the machine does meets all of them."""
    taken: dict[Path, list[float]] = {folder: [] for folder in models}
    for _ in range(repeats):
        for folder, model in models.items():
            mixture = noise(model, SECONDS)
            start = time.process_time()
            with torch.inference_mode():
                model(mixture)
            taken[folder].append(time.process_time() - start)
    return {folder: min(times) for folder, times in taken.items()}


def _against(first: Scores, second: Scores, measure: str) -> str:
    found = compare(first, second, measure)
    apart = [f"{source.second:.2f}" for source in found.sources] if measure == "SNRi" else []
    mean = found.overall.mean
    change = "" if first is second else f"{mean.value:+.2f} ({mean.low:+.2f} to {mean.high:+.2f})"
    return " | ".join([f"{found.overall.second:.2f}", *apart, change])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    tune_process()
    print(machine.describe())
    run(parser.parse_args().folders)
