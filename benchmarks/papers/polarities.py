"""What does a separator gain by hearing a mixture several times, upside down and later? A table of SI-SDR improvements.

python -m benchmarks.papers.polarities speech CORPUS [--items 30]

For models with a post-filter, bundled or of the same kind (--weights FILE), on the first mixtures of their validation
list. Estimates are put in one order for the whole of a mixture, averaged, and refined once.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import machine
from unbraid.evaluation.scoring import score_estimates
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.recipes import RECIPES
from unbraid.separation.process import tune_process
from unbraid.training.run_examples import Examples
from unbraid.weights.store import load_model

VIEWS = {
    "the mixture": ((1, 0),),
    "upside down": ((-1, 0),),
    "both": ((1, 0), (-1, 0)),
    "both, each also 16 samples later": ((1, 0), (-1, 0), (1, 16), (-1, 16)),
    "both, five times each": tuple((sign, later) for sign in (1, -1) for later in (0, 8, 16, 24, 40)),
}
"""Signs, and by how many samples a mixture is later."""


def heard(model: WithSuperResolution, mixture: Tensor, sign: int, later: int) -> Tensor:
    return sign * model.separator(sign * F.pad(mixture, (later, 0)))[..., later:]


def mean(passes: list[Tensor]) -> Tensor:
    """Of estimates of two speakers, all in the order of the first."""
    first, *others = passes
    swapped = [(one.flip(1) * first).sum() > (one * first).sum() for one in others]
    ordered = [one.flip(1) if swap else one for one, swap in zip(others, swapped, strict=True)]
    return torch.stack([first, *ordered]).mean(0)


@torch.inference_mode()
def run(name: str, weights: str | None, corpus: Path, items: int) -> None:
    model = load_model(weights or name).eval()
    assert isinstance(model, WithSuperResolution)
    assert model.spec.num_sources == 2
    config = RECIPES[f"{name}-post-filter"].config
    config = replace(config, validation=replace(config.validation, items=items))
    found: dict[str, list[list[float]]] = {view: [[], []] for view in VIEWS}
    for item in Examples(config, model.spec, corpus).valid_loader(0, 1):
        mixture = item.mixture.unsqueeze(0)
        known = {(sign, later): heard(model, mixture, sign, later) for sign, later in VIEWS["both, five times each"]}
        for view, passes in VIEWS.items():
            estimates = mean([known[one] for one in passes])
            for scores, made in zip(found[view], (estimates, model.super_resolution(mixture, estimates)), strict=True):
                score = score_estimates(made[0], item.references, item.mixture, exchangeable=True)
                present = [
                    target for target, reference in zip(score.targets, item.references, strict=True) if reference.any()
                ]
                scores.extend(min(target.metrics["SI-SDRi"], 60.0) for target in present)
    print(f"{name}, the first {items} mixtures of {config.validation.list_name}: SI-SDRi in dB\n")
    print("| the separator hears | its estimates | refined |\n|---|---|---|")
    for view, (plain, refined) in found.items():
        print(f"| {view} | {np.mean(plain):.2f} | {np.mean(refined):.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("speech", "speech-noisy"))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--weights", help="a file instead of the bundled model")
    parser.add_argument("--items", type=int, default=30)
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    print(machine.describe())
    run(options.model, options.weights, options.corpus, options.items)
