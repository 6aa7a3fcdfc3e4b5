"""What do gradients of our own bring in training? CPU time with them against PyTorch's, in one thread, in turn.

    python -m benchmarks.networks.own_gradients

A depthwise filter and a PReLU at the size of the recipe `speech` (four mixtures of 2.5 s), and its whole training step.
Then a step of Muon alone, torch's and ours, for the matrices of two presets.
"""

import time
from collections.abc import Callable

import torch

from benchmarks import machine
from unbraid.layers.activation import PReLU
from unbraid.layers.convolution import DepthwiseConv
from unbraid.layers.kernels import depthwise, prelu
from unbraid.losses.weighted import WeightedLoss
from unbraid.models.catalog import build_model
from unbraid.recipes import RECIPES
from unbraid.separation.process import tune_process
from unbraid.training.optimisation.optimisers import MuonAndAdam, OptimiserConfig, parameter_groups


def run(repeats: int = 15) -> None:
    torch.set_num_threads(1)
    config = RECIPES["speech"].config
    model, loss = build_model(config.model).train(), WeightedLoss(config.loss, exchangeable=True)
    references = torch.randn(4, 2, 1, 40_000)
    mixture, present = references.sum(1), torch.ones(4, 2, dtype=torch.bool)
    features = torch.randn(4, 1250, 256, requires_grad=True)
    filters, slope = DepthwiseConv(256, 5), PReLU()
    cases: dict[str, Callable[[], torch.Tensor]] = {
        "filter of five taps": lambda: filters(features).sum(),
        "PReLU": lambda: slope(features).sum(),
        "step of `speech`": lambda: loss(model(mixture), references, mixture, present).total,
    }
    print("| forward and backward | PyTorch's, ms | ours, ms | ratio |\n|---|---|---|---|")
    for name, case in cases.items():
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(repeats):
            for ours in (False, True):
                with chosen(ours):
                    start = time.process_time()
                    case().backward()
                    taken[ours].append(time.process_time() - start)
        theirs, own = (1e3 * min(taken[ours]) for ours in (False, True))
        print(f"| {name} | {theirs:.1f} | {own:.1f} | x{own / theirs:.2f} |", flush=True)


def run_muon(repeats: int = 5) -> None:
    print("\n| step of Muon | matrices | PyTorch's, ms | ours, ms | ratio |\n|---|---|---|---|---|")
    for name in ("fb-tiny", "s4m-tiny"):
        model, config = build_model(name), OptimiserConfig(name="muon", matrix_kernels=True)
        ours = MuonAndAdam([group for group in parameter_groups(model, config) if group["matrix"]], 1e-3, config.betas)
        kernels = ours.param_groups[0]["params"]
        flat = [kernel.detach().flatten(1) for kernel in kernels]
        for kernel, matrix in zip(kernels, flat, strict=True):
            kernel.grad = torch.randn_like(kernel)
            matrix.grad = kernel.grad.flatten(1)
        taken: dict[torch.optim.Optimizer, list[float]] = {torch.optim.Muon(flat): [], ours: []}
        for _ in range(repeats):
            for optimiser, times in taken.items():
                start = time.process_time()
                optimiser.step()
                times.append(time.process_time() - start)
        theirs, own = (1e3 * min(times) for times in taken.values())
        print(f"| {name} | {len(kernels)} | {theirs:.1f} | {own:.1f} | x{own / theirs:.2f} |", flush=True)


class chosen:
    """Within it, layers run their own gradients or leave them to PyTorch."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours

    def __enter__(self) -> None:
        self.before = prelu.gradients_are_ours
        if not self.ours:
            prelu.gradients_are_ours = depthwise.gradients_are_ours = lambda features: False

    def __exit__(self, *_: object) -> None:
        prelu.gradients_are_ours = depthwise.gradients_are_ours = self.before


if __name__ == "__main__":
    tune_process()
    print(machine.describe())
    run()
    run_muon()
