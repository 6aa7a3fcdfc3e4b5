"""What do S4M's claims come to at a small scale? A table of runs, each beside the first: what they cost and reach.

unbraid train speech-s4m --data CORPUS --out runs/speech-s4m       # and so on, see recipes/s4m.py
unbraid evaluate runs/speech-s4m/best.safetensors CORPUS --list speech-test --json runs/speech-s4m/scores.json
unbraid evaluate runs/speech-s4m/best.safetensors CORPUS --list speech-noisy-test --json runs/speech-s4m/noisy.json
python -m benchmarks.papers.speech_comparison runs/speech-s4m runs/speech-sepformer-as-{fast,large}

Differences are paired by mixture. Their intervals say how sure they are for these weights; another seed would have
given other weights. Memory is what a chunk of `--seconds` takes above the process itself, weights among it.
"""

import argparse
from pathlib import Path

from benchmarks import machine
from benchmarks.papers.trained_runs import change, cpu_seconds, models_of, scores_of, size_and_macs
from unbraid.evaluation.compare import compare
from unbraid.inspection.profile import measure_peak
from unbraid.separation.process import tune_process


def run(folders: list[Path], seconds: float) -> None:
    models, clean, noisy = models_of(folders), scores_of(folders), scores_of(folders, "noisy.json")
    cpu = cpu_seconds(models, seconds)
    first = folders[0]
    gains = "clean, dB | against the first | noisy, dB | against the first"
    print(f"| run | parameters | GMAC/s | CPU time | memory, MB | {gains} |\n|{'---|' * 9}")
    for folder in folders:
        count, macs = size_and_macs(models[folder], seconds)
        peak = measure_peak(folder / "best.safetensors", seconds, None)
        memory = "" if peak is None else f"{peak / 1e6:.0f}"
        reached = " | ".join(
            f"{compare(scores[first], scores[folder], 'SI-SDRi').overall.second:.2f} | "
            f"{change(scores[first], scores[folder], 'SI-SDRi')}"
            for scores in (clean, noisy)
        )
        print(
            f"| {folder.name} | {count:,} | {macs:.2f} | x{cpu[folder] / cpu[first]:.2f} | {memory} | {reached} |",
            flush=True,
        )
    print(f"\nCPU time of x1 is {cpu[first]:.4f} s per second of sound")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the chunk that is measured")
    options = parser.parse_args()
    tune_process()
    print(machine.describe())
    run(options.folders, options.seconds)
