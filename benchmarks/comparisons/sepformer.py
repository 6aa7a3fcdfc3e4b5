"""Our SepFormer beside SpeechBrain's, with the same weights: are outputs equal, and what do time and memory come to?

    python -m benchmarks.comparisons.sepformer --speechbrain DIR      DIR holds a copy of github speechbrain/speechbrain

SpeechBrain need not be installed: the few modules of it that SepFormer consists of are read from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import types
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from unbraid import Separator, build_model
from unbraid.audio.recording import Recording
from unbraid.models.catalog import preset_config
from unbraid.separation.process import tune_process
from unbraid.weights.foreign import convert_weights

RATE = 8000


class Theirs(nn.Module):
    """SpeechBrain's modules, put together as its recipe for WSJ0-2mix does."""

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        dual_path = import_dual_path(checkout)
        self.encoder = dual_path.Encoder(kernel_size=16, out_channels=256)
        blocks = [
            dual_path.SBTransformerBlock(
                num_layers=8, d_model=256, nhead=8, d_ffn=1024, dropout=0, use_positional_encoding=True,
                norm_before=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        self.masknet = dual_path.Dual_Path_Model(
            num_spks=2, in_channels=256, out_channels=256, num_layers=2, K=250, intra_model=blocks[0],
            inter_model=blocks[1], norm="ln", linear_layer_after_inter_intra=False, skip_around_intra=True,
        )  # fmt: skip
        self.decoder = dual_path.Decoder(in_channels=256, out_channels=1, kernel_size=16, stride=8, bias=False)

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        """As `SepformerSeparation.separate_batch`: (batch, sample) in, (batch, sample, source) out."""
        encoded = self.encoder(mixture)
        masked = encoded.unsqueeze(0) * self.masknet(encoded)
        estimates = torch.stack([self.decoder(one) for one in masked], dim=-1)
        return F.pad(estimates, (0, 0, 0, mixture.shape[1] - estimates.shape[1]))


def import_dual_path(checkout: Path) -> types.ModuleType:
    """The module with SepFormer's parts, without the rest of SpeechBrain, which needs packages that we do not have."""
    package = types.ModuleType("speechbrain")
    package.__path__ = [str(checkout / "speechbrain")]
    sys.modules["speechbrain"] = package
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    try:
        import speechbrain.lobes.models.dual_path as dual_path  # type: ignore[import-not-found]
    except ImportError as error:
        raise SystemExit(
            f"no SpeechBrain in {checkout} ({error}): git clone https://github.com/speechbrain/speechbrain, and name "
            "the folder by --speechbrain"
        ) from error
    return dual_path


def build(which: str, checkout: Path) -> nn.Module:
    """Either model, with the same weights."""
    torch.manual_seed(0)
    theirs = Theirs(checkout).eval()
    if which == "theirs":
        return theirs
    return convert_weights(theirs.state_dict(), "speechbrain", preset_config("sepformer"))


def separate(model: nn.Module, mixture: torch.Tensor) -> torch.Tensor:
    """(batch, source, sample), whoever's model it is."""
    with torch.inference_mode():
        if isinstance(model, Theirs):
            return model(mixture).movedim(2, 1)
        return model(mixture.unsqueeze(1)).squeeze(2)


def compare(checkout: Path, seconds: float, rounds: int) -> None:
    """Outputs and times, taken by turns."""
    mixture = 0.1 * torch.randn(1, round(seconds * RATE))
    models = {which: build(which, checkout) for which in ("theirs", "ours")}
    first, second = (separate(model, mixture) for model in models.values())
    difference, size = (first - second).abs().max(), first.square().mean().sqrt()
    print(f"largest difference {difference:.1e}, RMS of the estimates {size:.1e}")
    taken = {which: ([], []) for which in models}
    for _ in range(rounds):
        for which, model in models.items():
            cpu, wall = time.process_time(), time.perf_counter()
            separate(model, mixture)
            taken[which][0].append(time.process_time() - cpu)
            taken[which][1].append(time.perf_counter() - wall)
    best = {which: (min(cpu) / seconds, min(wall) / seconds) for which, (cpu, wall) in taken.items()}
    for which, (cpu, wall) in best.items():
        print(f"{which:7} {cpu:6.2f} CPU s, {wall:6.2f} s per second of audio, {torch.get_num_threads()} threads")
    ratio = [their / our for their, our in zip(best["theirs"], best["ours"], strict=True)]
    print(f"theirs over ours: CPU x{ratio[0]:.2f}, wall x{ratio[1]:.2f}")


def peak(what: str, checkout: Path, seconds: float) -> None:
    """In a process of its own: prints by how many megabytes its peak grows while it separates."""
    if what == "separator":
        separator = Separator(build_model("sepformer"))
        recording = Recording((0.1 * torch.randn(1, round(seconds * RATE))).numpy(), RATE)
        before = resident()
        separator.separate(recording)
    else:
        model, mixture = build(what, checkout), 0.1 * torch.randn(1, round(seconds * RATE))
        before = resident()
        separate(model, mixture)
    print(json.dumps(highest() - before))


def resident() -> float:
    return _status("VmRSS")


def highest() -> float:
    return _status("VmHWM")


def _status(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def measure_peak(what: str, checkout: Path, seconds: float) -> float:
    command = [sys.executable, "-m", "benchmarks.comparisons.sepformer", "--speechbrain", str(checkout), "--peak", what]
    done = subprocess.run([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speechbrain", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", type=float, nargs="*", default=[10, 30, 60], help="for memory")
    parser.add_argument("--peak", choices=["theirs", "ours", "separator"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    tune_process()
    if options.peak:
        peak(options.peak, options.speechbrain, options.seconds)
        sys.exit()
    compare(options.speechbrain, options.seconds, options.rounds)
    print(f"{'memory above the weights, MB':30} {'theirs':>8} {'ours':>8} {'our Separator':>14}")
    for length in options.lengths:
        found = [measure_peak(what, options.speechbrain, length) for what in ("theirs", "ours", "separator")]
        print(f"{length:>22g} seconds {found[0]:8.0f} {found[1]:8.0f} {found[2]:14.0f}", flush=True)
