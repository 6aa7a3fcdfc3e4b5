"""What a model costs: parameters, multiplications, processor time and memory, per second of audio.

Multiply-accumulate operations (MACs) are those of convolutions, linear layers, matrix products and attention. FFTs,
norms, activations and other elementwise work are not counted, as in the tables of most papers; a depthwise filter of
one tap is elementwise. A convolution by spectra counts the products that it does, those of its transforms among them.
What a layer is defined to compute and ours leaves out, because it would be thrown away, counts all the same: such a
layer has a method `skipped_macs`, with the arguments of its forward.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from unbraid.errors import ConfigError, DeviceError
from unbraid.models.catalog import PRESETS, build_model
from unbraid.models.contract import SeparationModel
from unbraid.separation.device import choose_device
from unbraid.weights.store import load_model

_REPEATS = 3


@dataclass(frozen=True)
class ModuleCost:
    """One module of a model, with all that is inside it."""

    name: str
    """Dotted, empty for the whole model."""
    kind: str
    parameters: int
    """Shared ones count once."""
    macs_per_second: float
    share: float
    """Of all MACs, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Costs per second of audio at the model's own rate and channels, one chunk at a time."""

    name: str
    seconds: float
    """Length of the chunk that was measured."""
    sample_rate: int
    num_channels: int
    device: str
    threads: int
    parameters: int
    macs_per_second: float
    cpu_seconds_per_second: float
    """Processor time of all threads, best of three."""
    wall_seconds_per_second: float
    """Best of three."""
    peak_memory_bytes: int | None
    """Weights and everything that one chunk needs, above what importing torch takes; None where it cannot be told."""
    modules: tuple[ModuleCost, ...]


def profile(
    source: str | Path, *, seconds: float = 4.0, device: str = "auto", threads: int | None = None, memory: bool = True
) -> Profile:
    """Measures a preset (with random weights), a bundled model or a weights file on noise of so many seconds."""
    if not 0 < seconds <= 3600:
        raise ConfigError(f"`seconds` lies between 0 and 3600, not {seconds}")
    place = choose_device(device)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        found = profile_model(build_or_load(source).to(place), name=str(source), seconds=seconds)
        if not memory:
            return found
        model_on_gpu = place.type != "cpu"
        peak = _peak_on_gpu(build_or_load(source).to(place), seconds) if model_on_gpu else None
        return replace(found, peak_memory_bytes=peak if model_on_gpu else measure_peak(source, seconds, threads))
    finally:
        torch.set_num_threads(before)


def profile_model(model: SeparationModel, *, name: str, seconds: float) -> Profile:
    """Measures a model where it is; memory is left out, because only a fresh process can tell."""
    spec = model.spec
    device = next(model.parameters()).device
    mixture = noise(model, seconds).to(device)
    audio_seconds = mixture.shape[-1] / spec.sample_rate
    cpu, wall = _time(model, mixture)
    macs = count_macs(model, mixture)  # after it has run, so that what is done once and kept is not counted
    modules = tuple(
        ModuleCost(
            name=part,
            kind=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            macs_per_second=macs[part] / audio_seconds,
            share=macs[part] / max(macs[""], 1),
        )
        for part, module in model.named_modules()
    )
    return Profile(
        name=name,
        seconds=audio_seconds,
        sample_rate=spec.sample_rate,
        num_channels=spec.num_channels,
        device=str(device),
        threads=torch.get_num_threads(),
        parameters=modules[0].parameters,
        macs_per_second=modules[0].macs_per_second,
        cpu_seconds_per_second=cpu / audio_seconds,
        wall_seconds_per_second=wall / audio_seconds,
        peak_memory_bytes=None,
        modules=modules,
    )


def build_or_load(source: str | Path) -> SeparationModel:
    """A preset with random weights, or a trained model."""
    return build_model(source) if isinstance(source, str) and source in PRESETS else load_model(source)


def noise(model: SeparationModel, seconds: float) -> torch.Tensor:
    """A mixture (1, channel, sample) that the model takes."""
    num_samples = max(1, round(seconds * model.spec.sample_rate))
    return 0.1 * torch.randn(1, model.spec.num_channels, num_samples, generator=torch.Generator().manual_seed(0))


def count_macs(model: SeparationModel, mixture: torch.Tensor) -> dict[str, int]:
    """MACs of one forward, by module name; "" is the whole model."""
    skipped: dict[str, int] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            skipped[name] = skipped.get(name, 0) + module.skipped_macs(*arguments)  # type: ignore[operator]

        return hook

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if hasattr(module, "skipped_macs")
    ]
    # Under inference_mode a linear layer reaches the counter undivided and is not recognised.
    more: dict[Any, Callable[..., int]] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        more[torch.ops.mkldnn._linear_pointwise] = _linear_flops
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        more[torch.ops.mkldnn._convolution_pointwise] = _convolution_flops
    if hasattr(torch.ops.aten, "mkldnn_rnn_layer"):
        more[torch.ops.aten.mkldnn_rnn_layer] = _recurrent_flops
    # The counter stumbles over parameters that are handed from module to module.
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=more) as counter:
            model(mixture)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for hook in hooks:
            hook.remove()
    root = type(model).__name__
    macs = {"": counter.get_total_flops() // 2}
    for name, operations in counter.get_flop_counts().items():
        if name.startswith(f"{root}."):
            macs[name.removeprefix(f"{root}.")] = sum(operations.values()) // 2
    # A container that is never called itself, such as a list of layers, costs what is in it.
    for name, module in reversed(list(model.named_modules())):
        if name not in macs:
            macs[name] = sum(macs.get(f"{name}.{child}", 0) for child, _ in module.named_children())
    for name, count in skipped.items():
        for outer in _outer_names(name):
            macs[outer] += count
    return macs


def _outer_names(name: str) -> list[str]:
    """A module's name and those of all that hold it, "" for the model."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) + 1)]


def _linear_flops(features, weight, *_, out_shape=None, **__) -> int:
    """From shapes; the counter does not know oneDNN's product, which `layers.linear` takes on some processors."""
    return 2 * math.prod(features) * weight[0]


def _convolution_flops(*shapes, out_shape: torch.Size, **__) -> int:
    """From shapes, of oneDNN's convolution with whatever follows it in the same pass."""
    weight = next(shape for shape in shapes[1:] if isinstance(shape, tuple | torch.Size) and shape != out_shape)
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def _recurrent_flops(features, input_weight, state_weight, *_, out_shape=None, **__) -> int:
    """From shapes, of one direction of an LSTM as oneDNN computes it."""
    return 2 * math.prod(features[:-1]) * (math.prod(input_weight) + math.prod(state_weight))


def _attention_flops(query, key, value, *_, **__) -> int:
    """From shapes; torch counts this for every kernel but the one it uses on a CPU."""
    return sdpa_flop_count(query, key, value)


def _time(model: SeparationModel, mixture: torch.Tensor) -> tuple[float, float]:
    cpu, wall = [], []
    with torch.inference_mode():
        model(mixture)
        for _ in range(_REPEATS):
            _wait(mixture.device)
            cpu_began, wall_began = time.process_time(), time.perf_counter()
            model(mixture)
            _wait(mixture.device)
            cpu.append(time.process_time() - cpu_began)
            wall.append(time.perf_counter() - wall_began)
    return min(cpu), min(wall)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak_on_gpu(model: SeparationModel, seconds: float) -> int | None:
    device = next(model.parameters()).device
    if device.type != "cuda":
        return None
    mixture = noise(model, seconds).to(device)
    torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode():
        model(mixture)
    return torch.cuda.max_memory_allocated(device)


def measure_peak(source: str | Path, seconds: float, threads: int | None = None) -> int | None:
    """Peak memory, in bytes, of a fresh process that runs the model once on the CPU; None where systems do not tell."""
    if sys.platform == "win32":
        return None
    arguments = [sys.executable, "-m", "unbraid.inspection.profile", str(source), str(seconds), str(threads or 0)]
    # The parent may have found this package on a path of its own.
    search = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(arguments, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": search})
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise DeviceError(
            f"measuring the memory of '{source}' on {seconds:g} s failed ({reason})", remedy="try fewer seconds"
        )
    return int(result.stdout)


def _print_own_peak(source: str, seconds: float, threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)
    before = highest_so_far()
    model = build_or_load(source)
    with torch.inference_mode():
        model(noise(model, seconds))
    print(highest_so_far() - before)


def highest_so_far() -> int:
    """The most memory that this process has held, in bytes."""
    try:
        # On Linux, ru_maxrss begins with the peak of the process that started this one; VmHWM is our own.
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        if sys.platform == "win32":
            return _highest_on_windows()
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _highest_on_windows() -> int:
    """PeakWorkingSetSize of PROCESS_MEMORY_COUNTERS, which follows upon two 32-bit numbers; 64 bits wide."""
    import ctypes

    counters = (ctypes.c_uint64 * 9)()
    kernel = ctypes.CDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), counters, ctypes.sizeof(counters))
    return counters[1]


if __name__ == "__main__":
    _print_own_peak(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
