"""What do other packages cost on the same audio? One table of theirs and ours, beside what the machine can do.

python -m benchmarks.comparisons.peers [--seconds 10] [--repeats 3] [--peer speechbrain ...]

Peers are installed without their dependencies into a scratch folder, which lies on nobody's path but theirs, and each
run is a process of its own; what a peer needs beside PyTorch and what unbraid brings is named with it. Random weights,
one thread, everyone in turn, the median. CPU seconds come first: a busy machine makes the clock tell of others. The
share of the limit is the time that the network's products would take at the rate of large products, over CPU time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import machine
from unbraid.layers.kernels.onednn import product

PACKAGES = {
    "demucs": ("demucs==4.1.0",),
    "pymss": ("pymss-core==0.1.14",),
    "speechbrain": ("speechbrain==1.0.3", "hyperpyyaml==1.2.2", "ruamel.yaml==0.18.6", "sentencepiece==0.2.1"),
    "asteroid": (
        *("asteroid==0.7.0", "asteroid-filterbanks==0.4.0"),
        *("requests==2.32.5", "urllib3==2.5.0", "charset-normalizer==3.4.3"),
    ),
}


_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""For all of them what `unbraid separate` does for itself: memory that is free stays with the process."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network: what builds it, and at which rate and channels it hears."""

    package: str
    build: str
    rate: int
    channels: int


NETWORKS = {
    "SepFormer, SpeechBrain 1.0.3": Entry(
        package="speechbrain",
        build=(
            "from unittest.mock import MagicMock\n"
            "sys.modules['torchaudio'] = MagicMock(__version__='2.11.1', __spec__=None)\n"  # for files only
            "from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBTransformerBlock\n"
            "class Whole(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        def block():\n"
            "            return SBTransformerBlock(num_layers=8, d_model=256, nhead=8, d_ffn=1024, dropout=0,\n"
            "                use_positional_encoding=True, norm_before=True)\n"
            "        self.encoder = Encoder(kernel_size=16, out_channels=256)\n"
            "        self.masks = Dual_Path_Model(num_spks=2, in_channels=256, out_channels=256, num_layers=2, K=250,\n"
            "            intra_model=block(), inter_model=block(), norm='ln', linear_layer_after_inter_intra=False,\n"
            "            skip_around_intra=True)\n"
            "        self.decoder = Decoder(in_channels=256, out_channels=1, kernel_size=16, stride=8, bias=False)\n"
            "    def forward(self, mixture):\n"
            "        encoded = self.encoder(mixture[:, 0])\n"
            "        masks = self.masks(encoded)\n"
            "        return torch.stack([self.decoder(mask * encoded) for mask in masks], 1)\n"
            "model = Whole()"
        ),
        rate=8000,
        channels=1,
    ),
    "SepFormer, ours": Entry(package="", build="model = unbraid.build_model('sepformer')", rate=8000, channels=1),
    "DPRNN, Asteroid 0.7": Entry(
        package="asteroid",
        build=(
            "from asteroid.models import DPRNNTasNet\n"
            "model = DPRNNTasNet(n_src=2, kernel_size=16, n_filters=64, chunk_size=100, bn_chan=64, hid_size=128)"
        ),
        rate=8000,
        channels=1,
    ),
    "HTDemucs, demucs 4.1": Entry(
        package="demucs",
        build=(
            "from demucs.htdemucs import HTDemucs\n"
            "model = HTDemucs(sources=['drums', 'bass', 'other', 'vocals'], bottom_channels=512, segment=10)"
        ),
        rate=44_100,
        channels=2,
    ),
    "BS-RoFormer, pymss-core": Entry(
        package="pymss",
        build=(
            "from benchmarks.comparisons.published_cost import ROFORMER\n"
            "from dataclasses import replace\n"
            "model = unbraid.build_model(replace(ROFORMER, targets=('vocals',),\n"
            "    arguments=ROFORMER.arguments | {'num_stems': 1}))"
        ),
        rate=44_100,
        channels=2,
    ),
    "SFC-CA small, ours": Entry(
        package="", build="model = unbraid.build_model('sfc-ca-small')", rate=44_100, channels=2
    ),
    "S4M-tiny, ours": Entry(package="", build="model = unbraid.build_model('s4m-tiny')", rate=16_000, channels=1),
}

PROGRAM = """
import json, sys, time, torch
sys.path[:0] = {paths!r}
torch.set_num_threads(1)
import unbraid
from unbraid.inspection.profile import count_macs, highest_so_far
{build}
model.eval()
mixture = 0.1 * torch.randn(1, {channels}, int({seconds} * {rate}))
with torch.no_grad():
    if {count}:
        flops = 2 * count_macs(model, mixture)[""]
    else:
        model(mixture[..., : mixture.shape[-1] // 4])
        flops = 0
    cpu, wall = time.process_time(), time.perf_counter()
    model(mixture)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
peak = highest_so_far()
print(json.dumps([cpu, wall, peak, flops]))
"""


def install(package: str, scratch: Path) -> str | None:
    """None, or why it is not there."""
    folder = scratch / package
    if folder.is_dir():
        return None
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    done = subprocess.run([*command, "--target", str(folder), *PACKAGES[package]], capture_output=True, text=True)
    return None if done.returncode == 0 else " ".join(done.stderr.split())[-120:]


def measure(entry: Entry, scratch: Path, seconds: float, *, count: bool) -> list[float] | str:
    """CPU and wall seconds, peak bytes, and floating-point operations where they are counted; or what went wrong."""
    paths = [str(scratch / entry.package)] if entry.package else []
    settings = {"paths": paths, "build": entry.build, "channels": entry.channels, "seconds": seconds}
    program = PROGRAM.format(**settings, rate=entry.rate, count=count)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | _MEMORY)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:120] if done.stderr.strip() else "ended without a word"
    return json.loads(done.stdout.splitlines()[-1])


def rates() -> tuple[float, float]:
    """Floating-point operations a second of large products by the faster library, and bytes a second of copies, in one
    thread."""
    torch.set_num_threads(1)
    left, right, long = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.randn(2**24)
    there = torch.empty_like(long)
    products, copies = [], []
    with torch.no_grad():
        for _ in range(8):
            for multiply in (torch.matmul, product):
                began = time.process_time()
                multiply(left, right)
                products.append(time.process_time() - began)
            began = time.process_time()
            there.copy_(long)
            copies.append(time.process_time() - began)
    return 2 * 1024**3 / min(products[2:]), 8 * 2**24 / min(copies[1:])


def run(names: list[str], scratch: Path, seconds: float, repeats: int) -> None:
    product_rate, copy_rate = rates()
    print(f"products {product_rate / 1e9:.0f} GFLOP/s, copies {copy_rate / 1e9:.1f} GB/s, one thread, {seconds:g} s\n")
    missing = {name: install(NETWORKS[name].package, scratch) for name in names if NETWORKS[name].package}
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    failed = {name: f"is not installed: {reason}" for name, reason in missing.items() if reason}
    for repeat in range(repeats):
        for name in names:
            if name in failed:
                continue
            result = measure(NETWORKS[name], scratch, seconds, count=repeat == 0)
            print(f"{name}, {repeat + 1} of {repeats}: {result}", file=sys.stderr, flush=True)
            if isinstance(result, str):
                failed[name] = result
            else:
                results[name].append(result)
    print("| network | CPU seconds | wall | peak memory, MB | share of the limit |\n|---|---|---|---|---|")
    for name in names:
        if name in failed:
            print(f"| {name} | {failed[name]} | | | |")
            continue
        cpu, wall, peak = (statistics.median(result[column] for result in results[name]) for column in range(3))
        share = results[name][0][3] / product_rate / cpu
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {peak / 1e6:.0f} | {share:.0%} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="where peers are and stay installed; else a folder for this run")
    parser.add_argument("--peer", action="append", help="only networks whose name has this in it")
    options = parser.parse_args()
    chosen = [name for name in NETWORKS if not options.peer or any(part in name for part in options.peer)]
    print(machine.describe())
    with tempfile.TemporaryDirectory() as folder:
        run(chosen, options.scratch or Path(folder), options.seconds, options.repeats)
