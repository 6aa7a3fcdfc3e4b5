"""Has something become slower? Ratios of forms that do the same, measured side by side, against the committed ones.

python -m benchmarks.networks.ratios            compare, and fail where one has lost more than 15 %
python -m benchmarks.networks.ratios --write    commit to what is measured here

Never seconds: CPU times, each the least of several taken in turn in one thread, divided by one another. They depend on
the processor all the same, and on another than the committed one's a loss is told without a failure.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.networks.own_gradients import chosen
from benchmarks.networks.scan import lean_loop, on_tensors, operands
from benchmarks.networks.speed import recompute_kernels
from unbraid.layers.convolution import DepthwiseConv
from unbraid.layers.kernels.selective_scan import selective_scan
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.fft_convolution import PlaneConv2d

COMMITTED = Path(__file__).with_name("ratios.json")
MOST_LOSS = 0.15
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
    """Bytes at most while a minute of stereo is separated, above those of a second."""
    program = (
        "import resource, sys, numpy as np, torch, unbraid\n"
        "torch.set_num_threads(1)\n"
        "model = unbraid.build_model('fb-tiny', chunk_seconds=4.0)\n"
        f"separator = unbraid.Separator(model, device='cpu', segment_seconds={segment})\n"
        "def peak(seconds):\n"
        "    samples = 0.1 * np.random.default_rng(0).standard_normal((2, seconds * 44_100)).astype(np.float32)\n"
        "    for event in separator.stream(samples, 44_100): pass\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(1)\n"
        "print(peak(40) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(repeats: int) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = {}
    for name, (slow, fast) in cases().items():
        measured[name] = round(ratio(slow, fast, repeats), 3)
    measured["memory of 40 s: whole / in chunks of 4 s"] = round(memory("'whole'") / memory("None"), 2)
    return measured


def check(measured: dict[str, float], committed: dict[str, float], *, same_machine: bool) -> int:
    """Prints the table; the exit status."""
    lost = 0
    print("| what | committed | measured | |\n|---|---|---|---|")
    for name, value in measured.items():
        promised = committed.get(name)
        change = 0.0 if promised is None else value / promised - 1
        verdict = "new" if promised is None else f"{change:+.0%}"
        if change < -MOST_LOSS:
            lost += 1
            verdict += ", lost"
        print(f"| {name} | {'' if promised is None else promised} | {value} | {verdict} |")
    print(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} CPU seconds")
    if lost and not same_machine:
        print("the committed ratios are another processor's: no failure")
    return int(bool(lost) and same_machine)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="commit to what is measured")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine.describe())
    found = measure(options.repeats)
    if options.write:
        content = {"processor": machine.processor(), "ratios": found}
        COMMITTED.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    stored = json.loads(COMMITTED.read_text(encoding="utf-8"))
    sys.exit(check(found, stored["ratios"], same_machine=stored["processor"] == machine.processor()))
