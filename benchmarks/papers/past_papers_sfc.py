"""What a trained SFC-CA loses with other bands or at another rate, and what the entropy of its attention tells.

    python -m benchmarks.papers.past_papers_sfc CORPUS --model cinematic --scenes 16

No training: the bundled model's learnt queries and biases are read at other bands (`models/sfc/resizing.py`). Scores
are improvements of the SNR over the scenes of `cinematic-test`, the first four seconds of each. At another rate mixture
and references are resampled, and the model as it is hears the same scenes at its own rate.

For confidence, every bin of the mixture with a level within 40 dB of the loudest says how sure the decoder was, every
band likewise how sure the encoder was, and how large the error of all estimates was there over the power of all
references. Correlations are by rank within a scene, and partial ones take out the level.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
import torch
from scipy.stats import rankdata

from benchmarks import machine
from unbraid.data.items import Example
from unbraid.data.lists.bundled import find_list
from unbraid.data.lists.scenes import read_scenes
from unbraid.data.loaders import SceneExamples
from unbraid.data.open import open_dataset
from unbraid.inspection.attention import attention_map
from unbraid.metrics.ratios import snr
from unbraid.models.sfc.model import SFC
from unbraid.models.sfc.resizing import resized
from unbraid.separation.process import tune_process
from unbraid.weights.store import load_model

SECONDS = 4.0
BANDS = (16, 24, 32, 40, 48, 64)
RATES = (8000, 12_000, 22_050)
_FLOOR_DB = -40.0


def read_examples(corpus: Path, model: SFC, count: int) -> list[Example]:
    path = find_list("cinematic-test")
    assert path is not None
    scenes = SceneExamples(open_dataset(corpus, "test", "corpus:cinematic"), read_scenes(path)[:count], model.spec)
    size = round(SECONDS * model.spec.sample_rate)
    whole = [scenes[index] for index in range(count)]
    return [Example(one.mixture[..., :size], one.references[..., :size], one.present) for one in whole]


def improvement(separate: Callable[[torch.Tensor], torch.Tensor], examples: list[Example]) -> tuple[np.ndarray, float]:
    """Mean SNR improvement of every scene, and CPU seconds per second of sound."""
    gains, spent = [], 0.0
    for mixture, references, _ in examples:
        begun = time.process_time()
        estimates = separate(mixture)
        spent += time.process_time() - begun
        sounding = references.square().mean((-2, -1)) > 1e-8
        gain = snr(estimates, references) - snr(mixture.expand_as(references), references)
        gains.append(float(gain[sounding].mean()))
    return np.array(gains), spent / (SECONDS * len(examples))


def direct(model: SFC) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda mixture: model(mixture.unsqueeze(0))[0]


def resample(signal: torch.Tensor, rate: float, wanted: float) -> torch.Tensor:
    rows = signal.reshape(-1, signal.shape[-1]).T.numpy()
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(rows, rate, wanted).T)).reshape(*signal.shape[:-1], -1)


def print_bands(model: SFC, examples: list[Example]) -> None:
    own = improvement(direct(model), examples)[0]
    print("| bands | SNRi, dB | against its own | 95 % | CPU s per s |\n|---|---|---|---|---|")
    for bands in BANDS:
        gains, cost = improvement(direct(resized(model, num_bands=bands)), examples)
        mark = " (as trained)" if bands == model.config.num_bands else ""
        print(f"| {bands}{mark} | {gains.mean():.2f} | {change(gains - own)} | {cost:.3f} |", flush=True)


def print_rates(model: SFC, examples: list[Example]) -> None:
    own_rate = model.spec.sample_rate
    print("\n| rate, Hz | at this rate | through its own rate | difference | 95 % |\n|---|---|---|---|---|")
    for rate in RATES:
        there = [
            Example(resample(one.mixture, own_rate, rate), resample(one.references, own_rate, rate), one.present)
            for one in examples
        ]

        def around(mixture: torch.Tensor, rate: int = rate) -> torch.Tensor:
            back = resample(direct(model)(resample(mixture, rate, own_rate)), own_rate, rate)
            return torch.nn.functional.pad(back, (0, mixture.shape[-1] - back.shape[-1]))

        here = improvement(direct(resized(model, sample_rate=rate)), there)[0]
        beside = improvement(around, there)[0]
        print(f"| {rate} | {here.mean():.2f} | {beside.mean():.2f} | {change(here - beside)} |", flush=True)


def change(differences: np.ndarray) -> str:
    """Mean and 95 % interval over scenes, by the normal distribution."""
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
    mean = differences.mean()
    return f"{mean:+.2f} | {mean - half:+.2f} to {mean + half:+.2f}"


def print_confidence(model: SFC, examples: list[Example]) -> None:
    names = ("confidence", "against its mean over time", "the latter, the level taken out")
    found: dict[str, list[float]] = {f"{part}: {name}": [] for part in ("bins", "bands") for name in names}
    members = model.config.bands.membership().float()
    for mixture, references, _ in examples:
        map_ = attention_map(model, "mixture", mixture)
        errors, powers, heard = (
            model.stft(signal).square().sum(dim=-3).flatten(0, -3).sum(0)
            for signal in (direct(model)(mixture) - references, references, mixture)
        )
        parts = {
            "bins": (map_.bin_confidence, errors, powers, heard),
            "bands": (map_.band_confidence, members @ errors, members @ powers, members @ heard),
        }
        for part, (sure, error, power, level) in parts.items():
            for name, value in zip(names, correlations(torch.from_numpy(sure), error / power, level), strict=True):
                found[f"{part}: {name}"].append(value)
    print("\n| rank correlation with the relative error | mean over scenes | 95 % |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {change(np.array(values))} |")


def correlations(sure: torch.Tensor, error: torch.Tensor, level: torch.Tensor) -> tuple[float, float, float]:
    """Of (place, frame) planes, over what is loud enough."""
    loud = level > level.max() * 10 ** (_FLOOR_DB / 10)
    changed = sure - sure.mean(dim=-1, keepdim=True)
    table = np.corrcoef([rankdata(values[loud].numpy()) for values in (sure, changed, error, level)])
    return table[0, 2], table[1, 2], without(table, 1, 2, 3)


def without(table: np.ndarray, first: int, second: int, third: int) -> float:
    """The correlation of two with what a third tells of both taken out."""
    a, b = table[first, third], table[second, third]
    return float((table[first, second] - a * b) / np.sqrt((1 - a**2) * (1 - b**2)))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="cinematic")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--confidence-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_process()
    print(machine.describe())
    model = load_model(options.model)
    assert isinstance(model, SFC)
    examples = read_examples(options.corpus, model, options.scenes)
    print(f"{options.model}, {options.scenes} scenes of {SECONDS:g} s\n")
    if not options.confidence_only:
        print_bands(model, examples)
        print_rates(model, examples)
    print_confidence(model, examples)


if __name__ == "__main__":
    main()
