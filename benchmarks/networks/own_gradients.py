"""What do gradients of our own bring in training? CPU time with them against PyTorch's, in one thread, in turn.

    python -m benchmarks.networks.own_gradients

A depthwise filter and a PReLU at the size of the recipe `speech` (four mixtures of 2.5 s), and its whole training step.
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
