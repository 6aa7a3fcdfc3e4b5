"""Does `--compile` pay on a CPU? The bundled models with and without it, in turn, and how long the compiler takes.

python -m benchmarks.networks.compiled [MODEL ...]

CPU seconds per second of audio, chunks as long as the model's own, one thread, the least of three.
"""

import argparse
import time

import torch

from benchmarks import machine
from unbraid.inspection.profile import noise
from unbraid.models.compiling import compile_parts
from unbraid.separation.process import tune_process
from unbraid.weights.store import load_model

REPEATS = 3


def row(name: str) -> str:
    torch._dynamo.reset()
    plain, compiled = load_model(name), load_model(name)
    compile_parts(compiled)
    mixture = noise(plain, plain.spec.chunk_seconds)
    with torch.inference_mode():
        began = time.perf_counter()
        given = compiled(mixture)
        waited = time.perf_counter() - began
        wanted = plain(mixture)
        taken = {"plain": [], "compiled": []}
        for _ in range(REPEATS):
            for kind, model in (("plain", plain), ("compiled", compiled)):
                began = time.process_time()
                model(mixture)
                taken[kind].append((time.process_time() - began) / plain.spec.chunk_seconds)
    difference = float((given - wanted).abs().max() / wanted.abs().max())
    before, after = min(taken["plain"]), min(taken["compiled"])
    pays = f"{waited / (before - after) / 60:.0f} minutes" if after < before else "never"
    return f"| {name} | {before:.3f} | {after:.3f} | {after / before:.2f} | {waited:.0f} | {pays} | {difference:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["speech", "music", "cinematic"])
    names = parser.parse_args().models
    tune_process()
    torch.set_num_threads(1)
    print(machine.describe())
    columns = ("model", "CPU s/s", "compiled", "ratio", "compiler, s", "pays from", "largest difference")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in names:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
