"""Networks of other packages on a long recording: their package's own way, and ours, each in a process of its own.

python -m benchmarks.comparisons.foreign_memory [MINUTES]

htdemucs by demucs.apply, and a BS-RoFormer and an SCNet by pymss.utils.demix, where pymss is installed. Random weights
in narrow and shallow networks of the published chunk and STFT: memory over time does not depend on the width. What is
separated is written nowhere, so that memory is what the separation takes. Then the difference on 10 s, which ours may
not make.
"""

import argparse
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from benchmarks import machine
from unbraid.inspection.profile import highest_so_far
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.models.packaged.pymss import PymssConfig
from unbraid.separation.separator import Separator
from unbraid.signal.bands import bs_roformer_bands

RATE = 44_100
STEMS = ("drums", "bass", "other", "vocals")
CHUNK = 352_800
ROFORMER = {
    "dim": 8,
    "depth": 2,
    "stereo": True,
    "num_stems": 1,
    "time_transformer_depth": 1,
    "freq_transformer_depth": 1,
    "dim_head": 8,
    "heads": 2,
    "mask_estimator_depth": 1,
    "mlp_expansion_factor": 1,
    "freqs_per_bands": list(bs_roformer_bands(1025).widths),
}
SCNET = {"dims": [4, 4, 8, 8], "conv_depths": [3, 2, 1], "num_dplayer": 2}
CONFIGS = {
    "htdemucs": DemucsConfig(arguments={"channels": 8, "dconv_mode": 0, "t_layers": 1, "bottom_channels": 16}),
    "bs_roformer": PymssConfig(chunk_samples=CHUNK, arguments=ROFORMER),
    "scnet": PymssConfig(network="scnet", targets=STEMS, rest=None, chunk_samples=CHUNK, arguments=SCNET),
}


def build(name: str) -> SeparationModel:
    torch.manual_seed(0)
    return build_model(CONFIGS[name])


def theirs(name: str, mixture: torch.Tensor) -> torch.Tensor:
    """(channel, sample) to (source, channel, sample) by the package's own function and its own network."""
    network = build(name).network
    if name == "htdemucs":
        from demucs.apply import apply_model

        # As demucs.api does it: mean and deviation of the whole, then chunks.
        mono = mixture.mean(0)
        scaled = (mixture - mono.mean()) / (mono.std() + 1e-8)
        estimates = apply_model(network, scaled[None], shifts=0, split=True, overlap=0.25)[0]
        return estimates * mono.std() + mono.mean()
    from pymss.utils import demix
    from pymss_core import AttrDict

    config = CONFIGS[name]
    settings = {
        "audio": {"chunk_size": CHUNK, "sample_rate": RATE, "num_channels": 2},
        # A quarter, as ours; most published settings say a half or more.
        "inference": {"batch_size": 1, "overlap_size": CHUNK // 4, "use_amp": False},
        "training": {"instruments": list(config.targets), "target_instrument": None, "use_amp": False},
    }
    if len(config.targets) == 1:
        settings["training"] = {"instruments": ["vocals", "other"], "target_instrument": "vocals", "use_amp": False}
    found = demix(AttrDict(settings), network, mixture.numpy(), torch.device("cpu"), model_type=name)
    return torch.from_numpy(np.stack([found[target] for target in config.targets]))


def ours(name: str, recording: Path) -> None:
    for _ in Separator(build(name)).stream(recording):
        pass


def difference(name: str) -> float:
    """Of the network alone on 10 s, by the package and by our class, at most."""
    model = build(name)
    mixture = 0.1 * torch.randn(1, 2, 10 * RATE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        if name == "htdemucs":
            from demucs.apply import apply_model

            expected = apply_model(model.network, mixture, shifts=0, split=True, overlap=0.25)
        else:
            model = build_model(CONFIGS[name], chunk_samples=10 * RATE)
            expected = model.network(mixture).reshape(1, len(CONFIGS[name].targets), 2, -1)
        return float((model(mixture)[:, : expected.shape[1]] - expected).abs().max())


def measure(name: str, way: str, recording: Path) -> tuple[float, float]:
    """MiB at most, and CPU seconds."""
    command = [sys.executable, "-m", "benchmarks.comparisons.foreign_memory", "--way", way, "--name", name]
    done = subprocess.run([*command, "--recording", str(recording)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    size, cpu = done.stdout.split()[-2:]
    return float(size), float(cpu)


def work(name: str, way: str, recording: Path) -> None:
    if way == "ours":
        ours(name, recording)
    else:
        samples, _ = soundfile.read(recording, dtype="float32", always_2d=True)
        with torch.inference_mode():
            theirs(name, torch.from_numpy(samples.T))
    print(highest_so_far() / 2**20, time.process_time())


def run(minutes: float = 30.0) -> None:
    print(machine.describe())
    names = [name for name in CONFIGS if name == "htdemucs" or find_spec("pymss")]
    if len(names) == 1:
        print("pymss is not installed: only htdemucs is compared")
    with TemporaryDirectory() as folder:
        recording = Path(folder) / "noise.wav"
        with soundfile.SoundFile(recording, "w", RATE, 2) as file:
            for second in range(round(minutes * 60)):
                file.write(np.random.default_rng(second).normal(0, 0.1, (RATE, 2)))
        for name in names:
            found = {way: measure(name, way, recording) for way in ("theirs", "ours")}
            (their_size, their_cpu), (our_size, our_cpu) = found["theirs"], found["ours"]
            print(
                f"{name:12} {minutes:g} min stereo: theirs {their_size:6.0f} MiB, {their_cpu:5.0f} CPU s; ours "
                f"{our_size:5.0f} MiB, {our_cpu:5.0f} CPU s; memory ratio {their_size / our_size:.1f}; "
                f"10 s differ by {difference(name):.1e}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=30.0)
    parser.add_argument("--way", choices=("theirs", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--name", choices=tuple(CONFIGS), help=argparse.SUPPRESS)
    parser.add_argument("--recording", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    if settings.way:
        work(settings.name, settings.way, settings.recording)
    else:
        run(settings.minutes)


if __name__ == "__main__":
    main()
