"""What does S4M cost, and what does it save to compute the S4 kernel once instead of in each of 16 rounds?"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from unbraid import build_model
from unbraid.inspection.profile import profile_model
from unbraid.layers.kernels import normed_filter
from unbraid.layers.linear import Linear
from unbraid.models.s4m.block import MultiScaleBlock
from unbraid.separation.process import tune_process


def seconds(model: torch.nn.Module, mixture: torch.Tensor, repeats: int = 3) -> tuple[float, float]:
    """CPU and wall seconds of a forward, each the best of a few."""
    times = []
    with torch.inference_mode():
        model(mixture)
        for _ in range(repeats):
            cpu, wall = time.process_time(), time.perf_counter()
            model(mixture)
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def recompute_kernels(model: torch.nn.Module) -> torch.nn.Module:
    """The same model, with the kernels computed anew in every round."""
    block = model.rounds.block
    forward = MultiScaleBlock.forward
    block.forward = lambda features, *kernels: forward(block, features, *block.kernels(features.shape[1]))
    return model


@contextmanager
def on_tensors() -> Iterator[None]:
    """S4M's block by operations on tensors, as where there is no compiler."""
    with mock.patch.object(normed_filter, "takes", return_value=False):
        yield


def run() -> None:
    print(f"{'model':28} {'GMAC/s':>7} {'CPU s/s':>8} {'wall s/s':>9}")
    for name, overrides in (
        ("s4m-tiny", {}),
        ("s4m-tiny-4ms", {}),
        ("s4m-tiny", {"kernel_ms": 4.0, "depth": 4}),
        ("s4m", {}),
    ):
        model = build_model(name, **overrides)
        found = profile_model(model, name=name, seconds=4.0)
        label = " ".join([name, *(f"{key}={value}" for key, value in overrides.items())])
        print(
            f"{label:28} {found.macs_per_second / 1e9:7.2f} {found.cpu_seconds_per_second:8.3f} "
            f"{found.wall_seconds_per_second:9.3f}"
        )
    features = torch.randn(1, 8000, 128)
    ordinary = seconds(torch.nn.Linear(128, 512), features, repeats=20)
    ours = seconds(Linear(128, 512), features, repeats=20)
    print(f"PyTorch's linear layer over ours: CPU x{ordinary[0] / ours[0]:.2f}, wall x{ordinary[1] / ours[1]:.2f}")
    mixture, model = torch.randn(1, 1, 4 * 16_000), build_model("s4m-tiny")
    few = seconds(model, mixture)
    with on_tensors():
        many = seconds(model, mixture)
    print(f"s4m-tiny on tensors over few passes: CPU x{many[0] / few[0]:.2f}, wall x{many[1] / few[1]:.2f}")
    once = seconds(build_model("s4m-tiny"), mixture)
    each = seconds(recompute_kernels(build_model("s4m-tiny")), mixture)
    print(f"kernel in each round over kernel once: CPU x{each[0] / once[0]:.2f}, wall x{each[1] / once[1]:.2f}")
    one_second = torch.randn(1, 1, 16_000)
    once = seconds(build_model("s4m-tiny"), one_second)
    each = seconds(recompute_kernels(build_model("s4m-tiny")), one_second)
    print(f"the same on 1 s: CPU x{each[0] / once[0]:.2f}, wall x{each[1] / once[1]:.2f}")


if __name__ == "__main__":
    tune_process()
    run()
