"""What do SFC-CA, SFC-Mamba and band split cost around one TF-Locoformer? What does checkpointing save?

python -m benchmarks.networks.compression [--size small] [--repeats 3]
"""

import argparse
import subprocess
import sys
import time

import torch

from benchmarks import machine
from unbraid import build_model
from unbraid.inspection.profile import count_macs, highest_so_far, measure_peak, noise
from unbraid.separation.process import tune_process

SECONDS = 12.0
TRAINING_SECONDS = 6.0


def run(sizes: list[str], repeats: int) -> None:
    print(f"stereo at 44.1 kHz, chunks of {SECONDS:g} s")
    header = f"{'preset':18} {'parameters':>11} {'GMAC/s':>8} {'CPU s/s':>8} {'wall s/s':>9} {'peak MB':>8}"
    for size in sizes:
        print(header)
        names = [f"{kind}-{size}" for kind in ("bs", "sfc-mamba", "sfc-ca")]
        models = {name: build_model(name) for name in names}
        taken = {name: [] for name in names}
        for _ in range(repeats):
            # In turn, so that whatever else the machine does meets all of them.
            for name, model in models.items():
                mixture = noise(model, SECONDS)
                cpu, wall = time.process_time(), time.perf_counter()
                with torch.inference_mode():
                    model(mixture)
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
        best = {name: [min(column) / SECONDS for column in zip(*times, strict=True)] for name, times in taken.items()}
        for name, (cpu, wall) in best.items():
            model = models[name]
            macs = count_macs(model, noise(model, SECONDS))[""] / SECONDS / 1e9
            count = sum(parameter.numel() for parameter in model.parameters())
            peak = (measure_peak(name, SECONDS) or 0) / 1e6
            print(f"{name:18} {count:11,} {macs:8.2f} {cpu:8.3f} {wall:9.3f} {peak:8.0f}", flush=True)
        ratio = [mamba / ca for mamba, ca in zip(best[f"sfc-mamba-{size}"], best[f"sfc-ca-{size}"], strict=True)]
        print(f"SFC-Mamba over SFC-CA: CPU x{ratio[0]:.2f}, wall x{ratio[1]:.2f}")
    print(f"training of encoder and decoder, one example of {TRAINING_SECONDS:g} s: peak above the rest, in MB")
    for name in ("sfc-ca-small", "sfc-mamba-small"):
        without, with_ = (_training_peak(name, checkpointing) for checkpointing in (False, True))
        print(f"{name:18} {without:8.0f} plain {with_:8.0f} checkpointed   x{with_ / without:.2f}", flush=True)


def _training_peak(name: str, checkpointing: bool) -> float:
    """Measured in a process of its own, because peaks only rise."""
    arguments = [
        sys.executable,
        "-m",
        "benchmarks.networks.compression",
        "--training-peak",
        name,
        str(int(checkpointing)),
    ]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def _print_training_peak(name: str, checkpointing: bool) -> None:
    """Forward and backward of the encoder and the decoder alone, without the separator between them."""
    model = build_model(name).train()
    model.set_gradient_checkpointing(checkpointing)
    model.core.separator = torch.nn.Identity()
    mixture = noise(model, TRAINING_SECONDS)
    before = highest_so_far()
    model(mixture).square().mean().backward()
    print((highest_so_far() - before) / 1e6)


if __name__ == "__main__":
    if "--training-peak" in sys.argv:
        tune_process()
        _print_training_peak(sys.argv[-2], bool(int(sys.argv[-1])))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--size", action="append", choices=("small", "medium"), help="both if not said")
        parser.add_argument("--repeats", type=int, default=2)
        options = parser.parse_args()
        tune_process()
        print(machine.describe())
        run(options.size or ["small", "medium"], options.repeats)
