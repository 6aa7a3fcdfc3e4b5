"""Parity and speed of each preset on a GPU, in ten minutes, as one prepared script.

python -m benchmarks.networks.gpu                            on the first CUDA device
python -m benchmarks.networks.gpu --device cpu --rehearse    the same way on a CPU, with tiny input, to see that it runs

Differences are RMS of the difference to float32 on the CPU over RMS of that. Speed is seconds of audio a second of wall
time, for batches of whole chunks. Shares are of the rates of large bfloat16 products and of copies, measured here
first: what is near neither limit waits for launches. Presets come in the order of their worth, and what does not fit
into the time is named as left out.
"""

import argparse
import time
from collections.abc import Callable
from copy import deepcopy

import torch

from benchmarks import machine
from benchmarks.networks.scan import on_tensors, operands
from unbraid.inspection.profile import count_macs
from unbraid.layers.kernels.selective_scan import selective_scan, selective_scan_reference, triton_scan
from unbraid.models.catalog import build_model
from unbraid.models.compiling import compile_parts
from unbraid.models.contract import SeparationModel
from unbraid.separation.device import choose_device
from unbraid.separation.inference.model_calls import call_model

PRESETS = (
    *("sfc-ca-small", "sfc-mamba-small", "s4m-tiny", "bs-small", "sfc-ca-medium", "sfc-mamba-medium", "s4m"),
    *("sepformer", "mtfa", "resunet", "sfsrnet", "fb-tiny", "s4m-live", "dprnn"),
)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def wall(case: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The least wall time, after a call that prepares everything."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        began = time.perf_counter()
        case()
        wait(device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def limits(device: torch.device, size: int) -> tuple[float, float]:
    """Operations a second of bfloat16 products, and bytes a second of copies."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    long = torch.empty(size * size * 8, device=device)
    there = torch.empty_like(long)
    return 2 * size**3 / wall(lambda: left @ right, device), 8 * long.numel() / wall(lambda: there.copy_(long), device)


def relative(made: torch.Tensor, truth: torch.Tensor) -> float:
    return float((made.cpu().double() - truth.cpu().double()).norm() / truth.double().norm())


def scan(device: torch.device, sequences: int, frames: int) -> None:
    """One direction of SFC-Mamba small."""
    print(f"\nscan of {sequences} sequences of {frames} frames; in Triton: {triton_scan() is not None}")
    few = operands(8, 65, 32, 8)
    exact = [tensor.detach().double().requires_grad_() for tensor in few]
    there = [tensor.detach().to(device).requires_grad_() for tensor in few]
    made, truth = selective_scan(*there), selective_scan_reference(*exact)
    gradients = zip(torch.autograd.grad(made.sum(), there), torch.autograd.grad(truth.sum(), exact), strict=True)
    print(f"differences: outputs {relative(made.detach(), truth.detach()):.1e}, gradients", end=" ")
    print(", ".join(f"{relative(ours, theirs):.1e}" for ours, theirs in gradients))
    tensors = [tensor.to(device) for tensor in operands(sequences, frames, 32, 8)]
    moved = sum(tensor.numel() for tensor in tensors) + tensors[0].numel()
    for name, form in (("operations on tensors", on_tensors), ("ours", selective_scan)):
        with torch.no_grad():
            forward = wall(lambda form=form: form(*tensors), device)
        trained = [tensor.detach().requires_grad_() for tensor in tensors]
        both = wall(lambda form=form, it=trained: torch.autograd.grad(form(*it).sum(), it), device)
        rate = 4 * moved / forward / 1e9
        print(f"{name}: forward {1e3 * forward:.2f} ms ({rate:.0f} GB/s), with gradient {1e3 * both:.2f} ms")


def difference(model: SeparationModel, device: torch.device, seconds: float) -> tuple[float, float]:
    """In float32 and in bfloat16 on the device, to float32 on the CPU."""
    mixture = 0.1 * torch.randn(1, model.spec.num_channels, round(seconds * model.spec.sample_rate))
    truth = call_model(model, torch.device("cpu"), mixture)
    there = deepcopy(model).to(device)
    exact, rounded = (call_model(there, device, mixture, kind) for kind in (torch.float32, torch.bfloat16))
    return relative(exact, truth), relative(rounded, truth)


def speeds(
    model: SeparationModel, device: torch.device, batch: int, seconds: float, *, compiled: bool
) -> dict[str, float]:
    """Wall seconds by form."""
    mixture = 0.1 * torch.randn(batch, model.spec.num_channels, round(seconds * model.spec.sample_rate), device=device)
    there = deepcopy(model).to(device)
    taken = {
        name: wall(lambda kind=kind: call_model(there, device, mixture, kind), device)
        for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    if compiled:
        compile_parts(there)
        taken["compiled"] = wall(lambda: call_model(there, device, mixture, torch.bfloat16), device)
    return taken


def run(device: torch.device, names: tuple[str, ...], minutes: float, *, rehearse: bool) -> None:
    began = time.perf_counter()
    torch.manual_seed(0)
    products, copies = limits(device, 256 if rehearse else 8192)
    print(f"products in bfloat16 {products / 1e12:.1f} TFLOP/s, copies {copies / 1e9:.0f} GB/s")
    scan(device, *((8, 65) if rehearse else (8 * 1034, 1025)))
    heads = ("preset", "float32", "bfloat16", "x real time, float32", "bfloat16", "compiled", "share of products")
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    batch = 1 if rehearse else 8
    for name in names:
        if time.perf_counter() - began > 60 * minutes:
            print(f"| {name} | left out: the time is over | | | | | |")
            continue
        try:
            model = build_model(name)
            length = 0.3 if rehearse else model.spec.chunk_seconds
            exact, rounded = difference(model, device, 0.3 if rehearse else 2.0)
            taken = speeds(model, device, batch, length, compiled=not rehearse)
            mixture = 0.1 * torch.randn(1, model.spec.num_channels, round(0.3 * model.spec.sample_rate))
            macs = count_macs(model, mixture)[""] / 0.3
        except Exception as error:
            print(f"| {name} | {type(error).__name__}: {' '.join(str(error).split())[:150]} | | | | | |", flush=True)
            continue
        audio = batch * length
        rates = [f"{audio / taken[form]:.0f}" if form in taken else "" for form in ("float32", "bfloat16", "compiled")]
        share = 2 * macs * audio / min(taken.values()) / products
        print(f"| {name} | {exact:.1e} | {rounded:.1e} | {' | '.join(rates)} | {share:.1%} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("names", nargs="*", default=list(PRESETS), metavar="PRESET")
    options = parser.parse_args()
    chosen = choose_device(options.device)
    print(torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else machine.describe())
    run(chosen, tuple(options.names), options.minutes, rehearse=options.rehearse)
