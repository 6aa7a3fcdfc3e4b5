"""Has something become slower? Ratios of forms that do the same, measured side by side, against the committed ones.

python -m benchmarks.networks.ratios            compare, and fail where one has lost more than 15 %
python -m benchmarks.networks.ratios --write    commit to the medians of three measurements here

Never seconds: CPU times, each the least of several taken in turn in one thread, divided by one another. What seems lost
is measured again up to twice and the best counts, for others on the machine take caches and memory from one form more
than from the other; where more wait for a processor than there are, 30 % may be lost. Ratios depend on the processor
all the same, and on another than the committed one's a loss is told without a failure.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks import machine
from benchmarks.networks.own_gradients import chosen
from benchmarks.networks.scan import lean_loop, on_tensors, operands
from benchmarks.networks.speed import on_tensors as in_many_passes
from benchmarks.networks.speed import recompute_kernels
from unbraid.layers.convolution import DepthwiseConv
from unbraid.layers.kernels.selective_scan import selective_scan
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.fft_convolution import PlaneConv2d
from unbraid.separation.process import tune_process

COMMITTED = Path(__file__).with_name("ratios.json")
MOST_LOSS, MOST_LOSS_BUSY = 0.15, 0.30
AGAIN = 2
MEMORY = "memory of 40 s: whole / in chunks of 4 s"
Case = Callable[[], object]


def scans() -> tuple[Case, Case, Case]:
    tensors = operands(128, 400, 32, 8)
    return (lambda: lean_loop(*tensors)), (lambda: on_tensors(*tensors)), (lambda: selective_scan(*tensors))


def trained(scan: Callable[..., torch.Tensor]) -> Case:
    tensors = [tensor.requires_grad_() for tensor in operands(128, 200, 32, 8)]

    def run() -> None:
        with torch.enable_grad():
            torch.autograd.grad(scan(*tensors).sum(), tensors)

    return run


def filtered(ours: bool) -> Case:
    features, layer = torch.randn(4, 1250, 256, requires_grad=True), DepthwiseConv(256, 5)

    def run() -> None:
        with torch.enable_grad(), chosen(ours):
            layer(features).sum().backward()

    return run


def on_tensors_only(model: torch.nn.Module, mixture: torch.Tensor) -> torch.Tensor:
    with in_many_passes():
        return model(mixture)


def cases() -> dict[str, tuple[Case, Case]]:
    """By name, the slow form and ours."""
    loop, on_tensors_, ours = scans()
    mixture = 0.1 * torch.randn(1, 1, 16_000)
    once, each = build_model("s4m-tiny"), recompute_kernels(build_model("s4m-tiny"))
    planes = torch.randn(1, 64, 129, 120)
    direct, by_spectra = (PlaneConv2d(64, 64, 9, method=method) for method in ("direct", "fft"))
    return {
        "scan: operations on tensors / compiled": (on_tensors_, ours),
        "scan: a loop that holds one state / compiled": (loop, ours),
        "scan with gradient: operations on tensors / compiled": (trained(on_tensors), trained(selective_scan)),
        "s4m-tiny: kernels in each round / once": (lambda: each(mixture), lambda: once(mixture)),
        "s4m-tiny: operations on tensors / few passes": (lambda: on_tensors_only(once, mixture), lambda: once(mixture)),
        "filter of five taps, trained: PyTorch's gradient / ours": (filtered(False), filtered(True)),
        "9 x 9 convolution: direct / by spectra": (lambda: direct(planes), lambda: by_spectra(planes)),
    }


def ratio(slow: Case, fast: Case, repeats: int) -> float:
    taken: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for _ in range(repeats + 1):
            for case, times in zip((slow, fast), taken, strict=True):
                began = time.process_time()
                case()
                times.append(time.process_time() - began)
    return min(taken[0][1:]) / min(taken[1][1:])


def memory(segment: str) -> float:
    """Bytes at most while 40 s of stereo are separated, above those of a second."""
    program = (
        "import numpy as np, torch, unbraid\n"
        "from unbraid.inspection.profile import highest_so_far\n"
        "torch.set_num_threads(1)\n"
        "model = unbraid.build_model('fb-tiny', chunk_seconds=4.0)\n"
        f"separator = unbraid.Separator(model, device='cpu', segment_seconds={segment})\n"
        "def peak(seconds):\n"
        "    samples = 0.1 * np.random.default_rng(0).standard_normal((2, seconds * 44_100)).astype(np.float32)\n"
        "    for event in separator.stream(samples, 44_100): pass\n"
        "    return highest_so_far()\n"
        "before = peak(1)\n"
        "print(peak(40) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measurements(repeats: int) -> dict[str, Callable[[], float]]:
    """By name, what measures a ratio."""
    timed = {name: partial(ratio, slow, fast, repeats) for name, (slow, fast) in cases().items()}
    return {**timed, MEMORY: lambda: memory("'whole'") / memory("None")}


def most_loss() -> float:
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)
    return MOST_LOSS_BUSY if busy else MOST_LOSS


def lost(measured: float, promised: float | None, most: float) -> bool:
    return promised is not None and measured < (1 - most) * promised


def best(measure: Callable[[], float], promised: float | None, most: float = MOST_LOSS) -> float:
    """What is measured; where that seems lost, the best of up to three times."""
    found = measure()
    for _ in range(AGAIN):
        if lost(found, promised, most):
            found = max(found, measure())
    return found


def check(
    measured: dict[str, float], committed: dict[str, float], *, same_machine: bool, most: float = MOST_LOSS
) -> int:
    """Prints the table; the exit status."""
    failed = False
    print("| what | committed | measured | |\n|---|---|---|---|")
    for name, value in measured.items():
        promised = committed.get(name)
        verdict = "new" if promised is None else f"{value / promised - 1:+.0%}"
        if lost(value, promised, most):
            failed = True
            verdict += ", lost"
        print(f"| {name} | {'' if promised is None else promised} | {value} | {verdict} |")
    print(f"\nat most {most:.0%} may be lost; {time.process_time():.0f} CPU seconds")
    if failed and not same_machine:
        print("the committed ratios are another processor's: no failure")
    return int(failed and same_machine)


def run(repeats: int, *, write: bool) -> int:
    # Without it, what a form costs depends on whether those before it left memory that the system need not hand out.
    tune_process()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measures = measurements(repeats)
    if write:
        rounds = [{name: measure() for name, measure in measures.items()} for _ in range(3)]
        found = {name: round(median(values[name] for values in rounds), 3) for name in measures}
        content = {"processor": machine.processor(), "ratios": found}
        COMMITTED.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for values in rounds:
            print(", ".join(f"{value:.2f}" for value in values.values()))
        return check(found, found, same_machine=True)
    stored, most = json.loads(COMMITTED.read_text(encoding="utf-8")), most_loss()
    promised = stored["ratios"]
    found = {name: round(best(measure, promised.get(name), most), 3) for name, measure in measures.items()}
    return check(found, promised, same_machine=stored["processor"] == machine.processor(), most=most)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="commit to what is measured")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine.describe())
    sys.exit(run(options.repeats, write=options.write))
