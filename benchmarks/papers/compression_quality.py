"""What do the three compressions reach around one separator, and at which cost? A table of runs, by number of bands.

unbraid train cinematic-bs-32 --data CORPUS --out runs/bs-32                # and so on
unbraid evaluate runs/bs-32/best.safetensors CORPUS --list cinematic-test --metrics SNR,SNRi,SI-SDR,SI-SDRi \
    --json runs/bs-32/scores.json
python -m benchmarks.papers.compression_quality runs/bs-32 runs/sfc-mamba-32 runs/sfc-ca-32

Differences are paired by scene, against the first run with as many bands. Their intervals say how sure they are for
these weights; another seed would have given other weights.
"""

import argparse
from itertools import groupby
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.papers.trained_runs import change, cpu_seconds, models_of, scores_of, size_and_macs
from unbraid.evaluation.compare import compare
from unbraid.models.sfc.model import SFC
from unbraid.separation.process import tune_process

SECONDS = 12.0


def run(folders: list[Path]) -> None:
    models, scores = models_of(folders), scores_of(folders)
    cpu = cpu_seconds(models, SECONDS)
    columns = (
        "run | parameters | GMAC/s | CPU s per s | SNRi | dialogue | music | effects | against the first | SI-SDRi"
    )
    for bands, group in groupby(folders, lambda folder: _bands(models[folder])):
        print(f"\n{bands} bands\n\n| {columns} | against the first |\n|{'---|' * 11}")
        first = None
        for folder in group:
            count, macs = size_and_macs(models[folder], SECONDS)
            first = first or scores[folder]
            snr, si_sdr = (compare(first, scores[folder], measure) for measure in ("SNRi", "SI-SDRi"))
            apart = " | ".join(f"{source.second:.2f}" for source in snr.sources)
            print(
                f"| {folder.name} | {count:,} | {macs:.2f} | {cpu[folder]:.3f} | {snr.overall.second:.2f} | {apart} | "
                f"{change(first, scores[folder], 'SNRi')} | {si_sdr.overall.second:.2f} | "
                f"{change(first, scores[folder], 'SI-SDRi')} |",
                flush=True,
            )


def _bands(model: torch.nn.Module) -> int:
    if not isinstance(model, SFC):
        raise SystemExit(f"{type(model).__name__} has no bands: name runs of SFC")
    return model.config.num_bands


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    tune_process()
    print(machine.describe())
    run(parser.parse_args().folders)
