"""Does the ONNX file of each kind of preset give what the model gives? A table of differences, or the reason why not.

python -m benchmarks.comparisons.export [NAME ...]

Random weights, real width, what repeats fewer times; noise with a second of silence in it, at a length that was not
traced. The difference is the largest of a sample of any estimate, over the largest sample of all estimates.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import machine
from unbraid.errors import ConfigError
from unbraid.models.catalog import SMALL, build_model
from unbraid.separation.backends.onnxruntime import load_onnx
from unbraid.separation.process import tune_process
from unbraid.weights.portable import export_program

SECONDS = 2.3
ONE_BLOCK = {"separator": replace(SMALL, num_blocks=1)}
FEWER: dict[str, dict[str, object]] = {
    "s4m-tiny": {"num_rounds": 1},
    "s4m": {"num_rounds": 1},
    "sepformer": {"num_blocks": 1, "num_layers": 2},
    "sfc-ca-small": ONE_BLOCK,
    "bs-small": ONE_BLOCK,
}
"""What repeats in a network, fewer times: export takes minutes otherwise and shows no more."""
NAMES = (
    *("sfc-mamba-small", "s4m-live", "sfsrnet", "s4m-tiny-super-resolution"),
    *("fb-tiny", "sfc-ca-small", "bs-small", "resunet", "mtfa", "s4m-tiny", "sepformer", "s4m"),
)
"""One of each kind; the others differ in size, stems or rate."""


def row(name: str) -> str:
    torch.manual_seed(0)
    model = build_model(name, **FEWER.get(name, {}))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            export_program(model, path, "onnx", name=name)
        except ConfigError as error:
            return f"| {name} | | | {error.reason} | |"
        taken, size = time.process_time() - began, path.stat().st_size / 2**20
        rate = model.spec.sample_rate
        mixture = 0.1 * torch.randn(1, model.spec.num_channels, round(SECONDS * rate))
        mixture[..., rate // 2 : rate * 3 // 2] = 0
        with torch.inference_mode():
            expected, made = model(mixture), load_onnx(path)(mixture)
    difference = float((made - expected).abs().max() / expected.abs().max())
    return f"| {name} | {difference:.1e} | {size:.1f} | | {taken:.0f} |"


def run(names: tuple[str, ...] = ()) -> None:
    print("| preset | largest difference | MB | why not | CPU seconds to export |\n|---|---|---|---|---|")
    for name in names or NAMES:
        print(row(name), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    tune_process()
    print(machine.describe())
    run(tuple(parser.parse_args().names))
