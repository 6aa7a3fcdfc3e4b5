"""What do a stride and super-resolution do to DPRNN's time? The five rows of SFSRNet's table 4, beside the paper's.

python -m benchmarks.networks.strided_dprnn

Random weights at full size, one thread, 4 s of noise at once, the rows taken in turn. The paper has milliseconds of an
RTX 2070 Super for a second of sound; what can be compared are the ratios to the first row.
"""

from __future__ import annotations

import re
import time

import torch

from benchmarks import machine
from benchmarks.papers.trained_runs import size_and_macs
from unbraid.inspection.profile import noise
from unbraid.models.catalog import build_model
from unbraid.recipes.sfsrnet import TABLE_4
from unbraid.separation.process import tune_process

SECONDS = 4.0


def run(repeats: int = 3) -> None:
    models = [build_model(recipe.config.model) for recipe in TABLE_4]
    published = [float(re.search(r"([\d.]+) ms", recipe.row).group(1)) for recipe in TABLE_4]  # type: ignore[union-attr]
    mixture, taken = noise(models[0], SECONDS), [[] for _ in models]
    for _ in range(repeats):
        for model, times in zip(models, taken, strict=True):
            begun = time.process_time()
            with torch.inference_mode():
                model(mixture)
            times.append(1000 * (time.process_time() - begun) / SECONDS)
    print("| recipe | parameters | GMAC/s | CPU ms per s | to the first | the paper's GPU ms per s | to the first |")
    print("|---|---|---|---|---|---|---|")
    for recipe, model, times, theirs in zip(TABLE_4, models, taken, published, strict=True):
        size, macs = size_and_macs(model, SECONDS)
        ours = [f"{size:,}", f"{macs:.2f}", f"{min(times):.0f}", f"x{min(times) / min(taken[0]):.2f}"]
        print(f"| `{recipe.config.name}` | {' | '.join(ours)} | {theirs} | x{theirs / published[0]:.2f} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tune_process()
    print(f"{machine.describe()}\n")
    run()
