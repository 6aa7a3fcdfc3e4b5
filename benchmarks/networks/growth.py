"""How does the cost grow with length, bands, batch and sources? A table and a picture with logarithmic axes.

python -m benchmarks.networks.growth [--picture docs/pictures/growth.svg]

CPU seconds of one call in one thread, random weights, each the least of two. Longer recordings go through the
Separator, where chunks follow each other: once each, with a bundled model.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import machine
from unbraid.models.catalog import SMALL, build_model, preset_config
from unbraid.models.contract import SeparationModel
from unbraid.models.sfc.model import SFCConfig
from unbraid.separation.process import tune_process
from unbraid.separation.separator import Separator

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
RECORDINGS = (1.0, 10.0, 60.0, 300.0, 600.0)
BANDS = (16, 32, 64, 128)
BATCHES = (1, 2, 4)
SOURCES = (2, 4, 8)


def seconds(model: SeparationModel, length: float, batch: int = 1) -> float:
    mixture = 0.1 * torch.randn(batch, model.spec.num_channels, round(length * model.spec.sample_rate))
    times = []
    with torch.inference_mode():
        for _ in range(2):
            began = time.process_time()
            model(mixture)
            times.append(time.process_time() - began)
    return min(times)


def recording_seconds(separator: Separator, length: float) -> float:
    spec = separator.model.spec
    samples = 0.1 * np.random.default_rng(0).standard_normal((spec.num_channels, round(length * spec.sample_rate)))
    began = time.process_time()
    for _ in separator.stream(samples.astype(np.float32), spec.sample_rate):
        pass
    return time.process_time() - began


def measure(longest: float, recording: float) -> dict[str, list[tuple[float, float]]]:
    """By what grows: pairs of how much, and CPU seconds."""
    config = preset_config("sfc-ca-small")
    assert isinstance(config, SFCConfig)
    one_block = replace(config, separator=replace(SMALL, num_blocks=1))
    s4m, music, sfc = build_model("s4m-tiny-4ms", num_rounds=4), build_model("fb-tiny"), build_model(one_block)
    lengths = [length for length in LENGTHS if length <= longest]
    names = tuple(f"source{number}" for number in range(max(SOURCES)))
    separator = Separator("music", device="cpu")
    recording_seconds(separator, 1.0)
    recordings = [length for length in RECORDINGS if length <= recording]
    return {
        "seconds of a recording, `music`": [(length, recording_seconds(separator, length)) for length in recordings],
        "seconds, S4M (4 rounds)": [(length, seconds(s4m, length)) for length in lengths],
        "seconds, SFC-CA (1 block)": [(length, seconds(sfc, length)) for length in lengths],
        "seconds, fb-tiny": [(length, seconds(music, length)) for length in lengths],
        "bands K, SFC-CA (1 block, 1 s)": [
            (bands, seconds(build_model(replace(one_block, num_bands=bands)), 1.0)) for bands in BANDS
        ],
        "rows of a batch, S4M (1 s)": [(batch, seconds(s4m, 1.0, batch)) for batch in BATCHES],
        "sources, SFC-CA (1 block, 1 s)": [
            (count, seconds(build_model(replace(one_block, sources=names[:count])), 1.0)) for count in SOURCES
        ],
    }


def exponent(points: list[tuple[float, float]]) -> float:
    """Of the power of its size that a cost follows between the last two points: 1 is linear."""
    (small, cheap), (large, dear) = points[-2:]
    return math.log(dear / cheap) / math.log(large / small)


def draw(measured: dict[str, list[tuple[float, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in measured.items():
        sizes, costs = zip(*points, strict=True)
        axes.plot(sizes, costs, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="seconds, bands, rows or sources", ylabel="CPU seconds")
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.savefig(path)


def run(picture: Path | None = None, longest: float = 16.0, recording: float = 600.0) -> None:
    torch.set_num_threads(1)
    measured = measure(longest, recording)
    print("| what grows | CPU seconds | exponent at the end |\n|---|---|---|")
    for name, points in measured.items():
        row = ", ".join(f"{size:g}: {cost:.3g}" for size, cost in points)
        print(f"| {name} | {row} | {exponent(points):.2f} |")
    if picture is not None:
        draw(measured, picture)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--longest", type=float, default=16.0, help="seconds of one call at most, from 2 on")
    parser.add_argument("--recording", type=float, default=600.0, help="seconds of a recording at most, from 10 on")
    options = parser.parse_args()
    tune_process()
    print(machine.describe())
    run(options.picture, options.longest, options.recording)
