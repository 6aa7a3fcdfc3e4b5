"""Do the metrics equal the reference tools on real music, and how much faster are they?

    python -m benchmarks.comparisons.metrics SONGS

SONGS holds one folder per song, at any depth, with a file for each stem (WAV, FLAC, Ogg). Estimates are made of the
stems: filtered, with the others leaking in and some noise, so that every error of BSS eval occurs. Of each song a
stretch with pauses is taken; one stem is put in antiphase for a second and the estimates end half a second early.

museval, mir_eval and fast_bss_eval come with the extra `dev`; what is not installed is left out and said.
"""

import argparse
import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks import machine
from unbraid.metrics.bss_eval import bss_eval_sources
from unbraid.metrics.csdr import csdr
from unbraid.metrics.framewise import FrameScores, framewise_bss_eval
from unbraid.separation.process import tune_process
from unbraid.signal.lengths import fit_length

STRETCH_SECONDS = 15
SPEED_SECONDS = 60
LOADING = 1e-8
NAMES = ("sdr", "isr", "sir", "sar")


def load_museval() -> ModuleType | None:
    """museval.metrics without its package, which asks for ffmpeg when it is imported."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        print("museval is not installed, so it is not compared: pip install museval==0.4.1")
        return None
    spec = importlib.util.spec_from_file_location("museval_metrics", Path(package.origin).parent / "metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_songs(root: Path) -> dict[str, tuple[Tensor, int]]:
    """Song -> stems (source, 2, sample) and their rate."""
    songs = {}
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in (".wav", ".flac", ".ogg")]
    for folder in sorted({path.parent for path in files}):
        stems, rate = [], 0
        for path in (path for path in files if path.parent == folder):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            stems.append(np.broadcast_to(samples.T[:2], (2, len(samples))))
        if len(stems) > 1:
            length = min(stem.shape[1] for stem in stems)
            songs[folder.name] = torch.from_numpy(np.stack([stem[:, :length] for stem in stems])), rate
    return songs


def stretch(stems: Tensor, rate: int, seconds: int, pauses: bool) -> Tensor:
    """Where every stem sounds at some time, and all at once either as often as they ever do or half of the time."""
    whole = to_16_bits(stems)[..., : stems.shape[-1] // rate * rate].unflatten(-1, (-1, rate))
    sounding = whole.sum(1).ne(0).any(-1)
    best, start = -seconds, 0
    for first in range(0, sounding.shape[1] - seconds + 1):
        part = sounding[:, first : first + seconds]
        full = int(part.all(0).sum())
        value = -abs(full - seconds // 2) if pauses else full
        if part[:, 1:].any(1).all() and value > best:
            best, start = value, first
    return stems[..., start * rate : (start + seconds) * rate].clone()


def make_estimates(reference: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    filters = 0.03 * torch.randn(reference.shape[1], 1, 41, generator=generator)
    filters[:, 0, 20] += 0.9
    filtered = torch.nn.functional.conv1d(reference, filters, padding=20, groups=reference.shape[1])
    leak = reference.sum(0) - reference
    return filtered + 0.08 * leak + 0.002 * torch.randn(reference.shape, generator=generator)


def to_16_bits(signal: Tensor) -> Tensor:
    return (signal * 2**15).round() / 2**15


def by_museval(museval: ModuleType, estimate: Tensor, reference: Tensor, rate: int) -> FrameScores:
    estimate = fit_length(estimate, reference.shape[-1])
    signals = (signal.double().mT.numpy() for signal in (reference, estimate))
    return FrameScores(*map(torch.from_numpy, museval.bss_eval(*signals, window=rate, hop=rate)[:4]))


def difference(found: FrameScores, theirs: FrameScores) -> str:
    """The largest difference of each ratio in dB, and whether the same windows are nan."""
    parts = [
        f"{(ours - other).abs().nan_to_num(0).max().item():8.1e}" for ours, other in zip(found, theirs, strict=True)
    ]
    same = all(torch.equal(ours.isnan(), other.isnan()) for ours, other in zip(found, theirs, strict=True))
    return (
        " ".join(parts) + f"   {int(found.sdr[0].isnan().sum()):2d}/{found.sdr.shape[1]} {'same' if same else 'OTHER'}"
    )


def compare_museval(museval: ModuleType, songs: dict[str, tuple[Tensor, int]]) -> None:
    print("largest difference to museval in dB, nan windows of all")
    medians = []
    print(f"{'song':14} {'form':22} " + " ".join(f"{name:>8}" for name in NAMES) + "   nan")
    for name, (stems, rate) in songs.items():
        reference = stretch(stems, rate, STRETCH_SECONDS, pauses=True)
        quiet = reference[0, :, :rate].clone()
        reference[0, 0, :rate], reference[0, 1, :rate] = quiet[0], -quiet[0]
        estimate = make_estimates(reference)[..., : -rate // 2]
        for form, change in (
            ("stereo, 16 bits", to_16_bits),
            ("mono, 16 bits", lambda signal: to_16_bits(signal[:, :1])),
            ("stereo, as decoded", lambda signal: signal),
        ):
            pair = change(estimate), change(reference)
            theirs = by_museval(museval, *pair, rate)
            print(f"{name:14} {form:22} {difference(framewise_bss_eval(*pair, window=rate), theirs)}")
            medians.append((name, f"museval, {form}", theirs))
        loaded = framewise_bss_eval(*pair, window=rate, loading=LOADING)
        medians.append((name, f"loading {LOADING:g}, as decoded", loaded))
    print("\nwhat is left of the ratios without rounding to 16 bits: medians over windows and sources, in dB")
    for name, form, scores in medians:
        if "mono" not in form:
            print(f"{name:14} {form:28} " + " ".join(f"{ratio.nanmedian().item():8.2f}" for ratio in scores))


def compare_bss_eval(songs: dict[str, tuple[Tensor, int]]) -> None:
    """Against the tools for mono sources, with the estimates in another order."""
    print("\nlargest difference in dB on 5 s of mono, estimates in another order")
    print(f"{'song':14} {'tool':14} {'sdr':>8} {'sir':>8} {'sar':>8}   order")
    for package in ("mir_eval", "fast_bss_eval"):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed, so it is not compared: pip install {package}")
            continue
        tool = importlib.import_module("mir_eval.separation" if package == "mir_eval" else package)
        for name, (stems, rate) in songs.items():
            reference = to_16_bits(stretch(stems, rate, 5, pauses=False)[:, :1])
            estimate = to_16_bits(make_estimates(reference)).flip(0)[:, 0].double()
            reference = reference[:, 0].double()
            arguments = (reference.numpy(), estimate.numpy()) if package == "mir_eval" else (reference, estimate)
            with warnings.catch_warnings():
                # mir_eval announces that version 0.9 will leave it out.
                warnings.simplefilter("ignore", FutureWarning)
                theirs = [torch.as_tensor(value) for value in tool.bss_eval_sources(*arguments)]
            found = bss_eval_sources(estimate, reference)
            parts = [f"{(a - b).abs().max().item():8.1e}" for a, b in zip(found[:3], theirs[:3], strict=True)]
            same = "same" if torch.equal(found.order, theirs[3].long()) else "OTHER"
            print(f"{name:14} {package:14} {' '.join(parts)}   {same}")


def seconds_of(run: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
    """CPU and wall seconds, each the best of some."""
    times = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def measure_speed(museval: ModuleType | None, songs: dict[str, tuple[Tensor, int]]) -> None:
    """4 stems; a song with fewer lends itself backwards for the rest."""
    stems, rate = max(songs.values(), key=lambda song: len(song[0]))
    reference = to_16_bits(stretch(stems, rate, SPEED_SECONDS, pauses=False))
    reference = torch.cat([reference, reference.flip(-1)])[:4]
    estimate = to_16_bits(make_estimates(reference))
    print(f"\n{len(reference)} stems of {SPEED_SECONDS} s, {reference.shape[1]} channels at {rate} Hz")
    print(f"{'what':36} {'CPU s':>8} {'wall s':>8}")
    costs = {
        "cSDR (joint)": seconds_of(lambda: csdr(estimate, reference, rate, "joint"), repeats=5),
        "BSS eval v4, all four ratios": seconds_of(lambda: framewise_bss_eval(estimate, reference, window=rate), 2),
    }
    if museval is not None:
        costs["museval 0.4.1"] = seconds_of(lambda: by_museval(museval, estimate, reference, rate))
    for what, (cpu, wall) in costs.items():
        print(f"{what:36} {cpu:8.3f} {wall:8.3f}")
    if museval is not None:
        cpu, wall = costs.pop("museval 0.4.1")
        for what, ours in costs.items():
            print(f"museval over {what}: CPU x{cpu / ours[0]:.0f}, wall x{wall / ours[1]:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, metavar="SONGS")
    parser.add_argument("--speed-only", action="store_true", help="leave out the comparison of values")
    options = parser.parse_args()
    print(machine.describe())
    songs = read_songs(options.songs)
    if not songs:
        parser.error(f"no folder below {options.songs} holds two stems or more: give the folder of the songs")
    museval = load_museval()
    if not options.speed_only:
        if museval is not None:
            compare_museval(museval, songs)
        compare_bss_eval(songs)
    measure_speed(museval, songs)


if __name__ == "__main__":
    tune_process()
    main()
