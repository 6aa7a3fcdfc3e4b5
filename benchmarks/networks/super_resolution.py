"""What does the super-resolution network cost on a separator, and what do convolutions by spectra save?"""

import subprocess
import sys
import time
from dataclasses import replace

import torch

from benchmarks import machine
from unbraid import build_model
from unbraid.inspection.profile import count_macs, highest_so_far, noise
from unbraid.models.catalog import PRESETS, ModelConfig
from unbraid.models.super_resolution.fft_convolution import PlaneConv2d
from unbraid.models.super_resolution.fft_tiling import choose_tiling, fft_is_faster
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.separation.process import tune_process

SECONDS = 4.0
FORMS = ("separator alone", "with it, direct", "with it, by spectra where faster")


def form(preset: str, number: int) -> ModelConfig:
    """A preset with super-resolution in one of the forms that are compared."""
    config = PRESETS[preset]
    assert isinstance(config, WithSuperResolutionConfig)
    if number == 0:
        return config.separator
    method = "direct" if number == 1 else "auto"
    return replace(config, super_resolution=replace(config.super_resolution, convolution=method))


def run(presets: tuple[str, ...] = ("sfsrnet", "s4m-tiny-super-resolution"), repeats: int = 2) -> None:
    layers()
    for preset in presets:
        models = [build_model(form(preset, number)) for number in range(len(FORMS))]
        mixture = noise(models[0], SECONDS)
        taken: list[list[tuple[float, float]]] = [[] for _ in FORMS]
        for model in models[1:]:
            with torch.inference_mode():
                model.super_resolution(mixture, mixture.repeat(1, model.spec.num_sources, 1).unsqueeze(2))
        for _ in range(repeats):
            # In turn, so that whatever else the machine does meets all of them.
            for model, times in zip(models, taken, strict=True):
                times.append(seconds(model, mixture))
        best = [[min(column) / SECONDS for column in zip(*times, strict=True)] for times in taken]
        print(f"\n{preset}, pieces of {SECONDS:g} s at {models[0].spec.sample_rate} Hz; per second of audio")
        print(f"{'':34} {'parameters':>11} {'GMAC':>8} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}")
        for number, (model, (cpu, wall)) in enumerate(zip(models, best, strict=True)):
            macs = count_macs(model, mixture)[""] / SECONDS / 1e9
            count = sum(parameter.numel() for parameter in model.parameters())
            print(f"{FORMS[number]:34} {count:11,} {macs:8.2f} {cpu:8.4f} {wall:8.4f} {peak(preset, number):8.0f}")
        for number, name in ((1, "direct"), (2, "by spectra where faster")):
            share = [(after - before) / before for after, before in zip(best[number], best[0], strict=True)]
            print(f"the network {name}: {share[0]:.2f} of the separator's CPU time, {share[1]:.2f} by the clock")


def layers() -> None:
    """The paper's layers one by one, on planes of one and of four seconds at 8 kHz."""
    print("on planes of some seconds, CPU ms")
    print(f"{'convolution':22} {'seconds':>7} {'direct':>8} {'spectra':>8} {'ratio':>6} {'chosen':>8} {'error':>8}")
    for dim_in, dim_out, size in ((5, 128, 5), (128, 256, 9), (256, 128, 11), (128, 2, 11)):
        layer = PlaneConv2d(dim_in, dim_out, size)
        tiling = choose_tiling((size, size), 129, dim_in, dim_out)
        for length in (1, 4):
            planes = torch.randn(1, dim_in, 129, 1 + 125 * length).to(memory_format=torch.channels_last)
            found = {}
            with torch.inference_mode():
                for layer.method in ("direct", "fft"):
                    out = layer(planes)
                    found[layer.method] = min(seconds(layer, planes)[0] for _ in range(3)), out
            (direct, expected), (spectra, out) = found["direct"], found["fft"]
            name = f"{size} x {size}, {dim_in} to {dim_out}"
            chosen = "spectra" if fft_is_faster(planes.shape, dim_out, tiling) else "direct"
            error = float((out - expected).abs().max() / expected.abs().max())
            print(
                f"{name:22} {length:7} {1000 * direct:8.1f} {1000 * spectra:8.1f} {direct / spectra:6.2f} {chosen:>8} "
                f"{error:8.0e}"
            )
    print("forward and backward")
    for dim_in, dim_out, size in ((128, 256, 9), (256, 128, 11)):
        layer = PlaneConv2d(dim_in, dim_out, size)
        planes = torch.randn(1, dim_in, 129, 251).to(memory_format=torch.channels_last).requires_grad_()
        found = {}
        for layer.method in ("direct", "fft"):
            times = []
            for _ in range(2):
                began = time.process_time()
                layer(planes).sum().backward()
                times.append(time.process_time() - began)
            found[layer.method] = 1000 * min(times)
        direct, spectra = found.values()
        name = f"{size} x {size}, {dim_in} to {dim_out}"
        print(f"{name:22} {2:7} {direct:8.1f} {spectra:8.1f} {direct / spectra:6.2f}")


def seconds(module: torch.nn.Module, given: torch.Tensor) -> tuple[float, float]:
    """CPU and wall time of one forward."""
    with torch.inference_mode():
        cpu, wall = time.process_time(), time.perf_counter()
        module(given)
        return time.process_time() - cpu, time.perf_counter() - wall


def peak(preset: str, number: int) -> float:
    """In MB; measured in a process of its own, because peaks only rise."""
    arguments = [sys.executable, "-m", "benchmarks.networks.super_resolution", "--peak", preset, str(number)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def _print_peak(preset: str, number: int) -> None:
    before = highest_so_far()
    model = build_model(form(preset, number))
    with torch.inference_mode():
        model(noise(model, SECONDS))
    print((highest_so_far() - before) / 1e6)


if __name__ == "__main__":
    tune_process()
    if "--peak" in sys.argv:
        _print_peak(sys.argv[-2], int(sys.argv[-1]))
    else:
        print(machine.describe())
        run()
