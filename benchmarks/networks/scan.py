"""How much faster is the selective scan than the same recurrence as a loop? One direction of SFC-Mamba small on 6 s."""

import argparse
import resource
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks import machine
from unbraid.layers.kernels.compiled import describe
from unbraid.layers.kernels.selective_scan import (
    SelectiveScan,
    scan_forward,
    selective_scan,
    selective_scan_reference,
)
from unbraid.layers.mamba import Mamba
from unbraid.separation.process import tune_process


def lean_loop(inputs, step, A, B, C, D):
    """The loop that holds nothing but one state; public slow paths, and our reference, hold all decays and inputs."""
    state, outputs = inputs.new_zeros(len(inputs), *A.shape), []
    for x, dt, B_now, C_now in zip(inputs.unbind(1), step.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        state = torch.exp(dt[..., None] * A) * state + (dt * x)[..., None] * B_now[:, None]
        outputs.append((state * C_now[:, None]).sum(-1))
    return torch.stack(outputs, 1) + D * inputs


def on_tensors(*tensors):
    """What runs where there is no compiler."""
    return SelectiveScan.apply(*tensors) if torch.is_grad_enabled() else scan_forward(*tensors)[0]


def published_form(inputs, step, A, B, C, D):
    """As public slow paths write it: frames next to last, all decays and inputs first, then frame after frame by index.

    Each index costs the backward pass a tensor as large as all of them, which makes minutes of seconds.
    """
    inputs, step, B, C = (tensor.transpose(1, 2) for tensor in (inputs, step, B, C))
    decays = torch.exp(torch.einsum("bdl,dn->bdln", step, A))
    driven = torch.einsum("bdl,bnl,bdl->bdln", step, B, inputs)
    state, outputs = inputs.new_zeros(len(inputs), *A.shape), []
    for frame in range(inputs.shape[2]):
        state = decays[:, :, frame] * state + driven[:, :, frame]
        outputs.append(torch.einsum("bdn,bn->bd", state, C[:, :, frame]))
    return (torch.stack(outputs, 2) + inputs * D[:, None]).transpose(1, 2)


def operands(sequences: int, frames: int, dim: int, state: int) -> list[torch.Tensor]:
    return [
        torch.randn(sequences, frames, dim),
        F.softplus(torch.randn(sequences, frames, dim) - 3),
        -torch.arange(1.0, state + 1).repeat(dim, 1),
        torch.randn(sequences, frames, state),
        torch.randn(sequences, frames, state),
        torch.ones(dim),
    ]


def forward(scan: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        scan(*tensors)


def forward_and_backward(scan: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> None:
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    scan(*leaves).square().sum().backward()


def seconds(run: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def growth_megabytes(run: Callable[[], None]) -> float:
    """How far this raises the peak of the process so far."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def run(sequences: int = 516, frames: int = 1089, dim: int = 32, state: int = 8, repeats: int = 3) -> None:
    tensors = operands(sequences, frames, dim, state)
    print(f"ours is {describe('selective_scan').split(',')[0]}")
    passes = {"forward": forward, "forward and backward": forward_and_backward}
    for name, work in passes.items():
        print(f"{name}: peak {growth_megabytes(lambda work=work: work(selective_scan, tensors)):+.0f} MB")
    ways = {
        "ours": selective_scan,
        "on tensors": on_tensors,
        "reference": selective_scan_reference,
        "lean loop": lean_loop,
    }
    for name, work in passes.items():
        if name == "forward":
            ways["published form"] = published_form
        else:
            del ways["published form"]
        taken = {way: [] for way in ways}
        for _ in range(repeats):
            # In turn, so that whatever else the machine does meets all of them.
            for way, scan in ways.items():
                # Ours is so short that one run says little.
                for _ in range(5 if way == "ours" else 1):
                    taken[way].append(seconds(lambda scan=scan, work=work: work(scan, tensors)))
        best = {way: [min(column) for column in zip(*times, strict=True)] for way, times in taken.items()}
        for way, (cpu, wall) in best.items():
            ratios = f"x{cpu / best['ours'][0]:5.1f} CPU, x{wall / best['ours'][1]:5.1f} wall"
            print(f"{name:21} {way:14} {cpu:7.3f} CPU s {wall:7.3f} wall s   {ratios}", flush=True)
    layer, features = Mamba(dim), torch.randn(2 * sequences + 1, frames, dim)
    with torch.inference_mode():
        print(f"Mamba({dim}) on {len(features)} sequences: {seconds(lambda: layer(features))[1]:.2f} wall s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=516)
    parser.add_argument("--frames", type=int, default=1089)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--untuned", action="store_true", help="leave the allocator as PyTorch finds it in a program")
    options = parser.parse_args()
    if not options.untuned:
        tune_process()
    print(machine.describe())
    run(options.sequences, options.frames, repeats=options.repeats)
