"""What does MTFA cost, how much of it is attention, and how does that compare with Hybrid Demucs?"""

import subprocess
import sys
import time

import torch

from benchmarks import machine
from unbraid import build_model
from unbraid.inspection.profile import count_macs, highest_so_far, measure_peak, noise
from unbraid.layers.axial import TemporalFrequencyAttention
from unbraid.layers.axis_attention import TemporalFrequencyConfig
from unbraid.models.mtfa.model import MTFAConfig, attention_costs
from unbraid.models.resunet.config import CENTRE, ENCODERS
from unbraid.separation.process import tune_process

SECONDS = 10.0
NAMES = ("resunet", "mtfa", "mtfa-small")
LONG_SECONDS = 30.0
"""Of the plane on which the memory of attention alone is measured: the released code of the U-Net takes so much."""


def run(names: tuple[str, ...] = NAMES, repeats: int = 3, memory: bool = True) -> None:
    models: dict[str, torch.nn.Module] = {name: build_model(name) for name in names}
    demucs = hybrid_demucs()
    if demucs is not None:
        models["hybrid demucs"] = demucs
    mixture = noise(models[names[0]], SECONDS)  # type: ignore[arg-type]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    with torch.inference_mode():
        for model in models.values():
            model(mixture[..., :44_100])
        for _ in range(repeats):
            # In turn, so that whatever else the machine does meets all of them.
            for name, model in models.items():
                cpu, wall = time.process_time(), time.perf_counter()
                model(mixture)
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    best = {name: [min(column) / SECONDS for column in zip(*times, strict=True)] for name, times in taken.items()}
    _print_attention_costs()
    print(f"stereo at 44.1 kHz, chunks of {SECONDS:g} s, random weights, best of {repeats} taken in turn")
    print(f"{'preset':14} {'gives':>7} {'parameters':>12} {'GMAC/s':>7} {'CPU s/s':>8} {'wall s/s':>9} {'peak MB':>8}")
    for name, (cpu, wall) in best.items():
        model = models[name]
        count = sum(parameter.numel() for parameter in model.parameters())
        ours = name in names
        stems = model.spec.num_sources if ours else len(model.sources)  # type: ignore[union-attr]
        macs = f"{count_macs(model, mixture)[''] / SECONDS / 1e9:7.2f}" if ours else " " * 7  # type: ignore[arg-type]
        peak = f"{(measure_peak(name, SECONDS) or 0) / 1e6:8.0f}" if ours and memory else " " * 8
        print(f"{name:14} {stems:>7} {count:12,} {macs} {cpu:8.3f} {wall:9.3f} {peak}", flush=True)
    if {"resunet", "mtfa"} <= set(best):
        (cpu, wall), (before_cpu, before_wall) = best["mtfa"], best["resunet"]
        print(
            f"attention adds {100 * (cpu / before_cpu - 1):.1f} % CPU time, {100 * (wall / before_wall - 1):.1f} % wall"
        )
    if memory:
        print(f"attention of the outermost level alone on {LONG_SECONDS:g} s: peak above the rest, in MB")
        whole, pieces = (_attention_peak(name) for name in ("whole", "pieces"))
        print(f"{whole:.0f} all rows at once, {pieces:.0f} a few at a time")


def _print_attention_costs(seconds: float = 3.0) -> None:
    """What attention behind each stage compares, per head."""
    print(f"scores of attention per head, for {seconds:g} s of audio")
    print(f"{'behind':>6} {'frames':>7} {'bins':>5} {'features':>9} {'along time':>11} {'along frequency':>16}")
    for cost in attention_costs(MTFAConfig(), seconds, (*ENCODERS, *CENTRE)):
        sizes = f"{cost.num_frames:7} {cost.num_freqs:5} {cost.dim:9}"
        print(f"{cost.place:>6} {sizes} {cost.time_entries:11.2e} {cost.frequency_entries:16.2e}")


def hybrid_demucs() -> torch.nn.Module | None:
    """The network of `pip install --no-deps demucs julius`, with random weights; None where it is not installed."""
    try:
        from demucs.hdemucs import HDemucs  # type: ignore[import-not-found]
    except ImportError:
        print("Hybrid Demucs is not installed, and left out")
        return None
    return HDemucs(["drums", "bass", "other", "vocals"]).eval()


def _attention_peak(how: str) -> float:
    """Measured in a process of its own, because peaks only rise."""
    arguments = [sys.executable, "-m", "benchmarks.networks.mtfa", "--attention-peak", how]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def _print_attention_peak(how: str) -> None:
    """Behind E3 of the full preset: 128 features, 256 bins, a frame every 40 ms."""
    module = TemporalFrequencyAttention(128, TemporalFrequencyConfig()).eval()
    if how == "whole":
        module.tokens_at_once = sys.maxsize
    plane = torch.randn(1, round(25 * LONG_SECONDS), 256, 128).permute(0, 3, 1, 2)
    before = highest_so_far()
    with torch.inference_mode():
        module(plane)
    print((highest_so_far() - before) / 1e6)


if __name__ == "__main__":
    tune_process()
    if "--attention-peak" in sys.argv:
        _print_attention_peak(sys.argv[-1])
    else:
        print(machine.describe())
        run()
