"""Trains a post-filter on a trained separator, which stays as it is.

python -m benchmarks.training.post_filter speech CORPUS OUT --new     a new post-filter on the bundled model's separator
python -m benchmarks.training.post_filter speech CORPUS OUT           on from the bundled one, if there is one

`unbraid train speech-post-filter --init speech` does the same and separates every mixture anew, which costs a third as
much as the post-filter's own step. Here each mixture is separated once and used about four times: a step takes one that
is new and three of the last thousands. OUT gets `best.safetensors` (an average of the weights, the best on validation),
`state.pt`, from which the same command goes on, and `log.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.cli.overrides import apply_overrides
from unbraid.data.items import Example
from unbraid.evaluation.scoring import score_estimates
from unbraid.models.contract import SeparationModel
from unbraid.models.super_resolution.post_filter import PostFilter
from unbraid.models.super_resolution.wrapper import WithSuperResolution, WithSuperResolutionConfig
from unbraid.recipes import RECIPES
from unbraid.recipes.bundled import POST_FILTERS
from unbraid.separation.process import tune_process
from unbraid.training.config import TrainingConfig
from unbraid.training.optimisation.objective import Objective
from unbraid.training.optimisation.optimisers import build_optimiser
from unbraid.training.run_examples import Examples
from unbraid.weights.store import inspect_model, load_model, save_model

_SUFFIX = "-post-filter"
_MOST_KEPT = 4000
_FIRST = 60
"""Mixtures that are kept before the first step."""


class Replay:
    """Mixtures with what the separator made of them: one new, the others of those before."""

    def __init__(self, model: WithSuperResolution, new: Iterator[Example], size: int, seed: int) -> None:
        self.model, self.new, self.size = model, new, size
        self.rng, self.kept = np.random.default_rng(seed), list[tuple[Tensor, ...]]()

    def draw(self) -> tuple[Example, Tensor]:
        """A batch and its estimates (batch, source, channel, sample)."""
        latest = self._separate_one()
        while len(self.kept) < _FIRST:
            latest = self._separate_one()
        chosen = [latest, *(self.kept[place] for place in self.rng.integers(len(self.kept), size=self.size - 1))]
        mixture, references, present, estimates = (torch.stack(part) for part in zip(*chosen, strict=True))
        return Example(mixture.float(), references.float(), present), estimates.float()

    def _separate_one(self) -> tuple[Tensor, ...]:
        example = next(self.new)
        with torch.no_grad():
            estimates = self.model.separate(example.mixture)
        row = (example.mixture[0].half(), example.references[0].half(), example.present[0], estimates[0].half())
        if len(self.kept) < _MOST_KEPT:
            self.kept.append(row)
        else:
            self.kept[self.rng.integers(_MOST_KEPT)] = row
        return row


class GivenEstimates(SeparationModel[Any]):
    """What a loss asks of a model, for a separator that has run."""

    refines = True

    def __init__(self, post_filter: PostFilter, separator: SeparationModel) -> None:
        super().__init__()
        self.post_filter, self.spec, self.config = post_filter, separator.spec, separator.config
        self.given: Tensor | None = None

    def forward(self, mixture: Tensor) -> Tensor:
        assert self.given is not None
        return self.post_filter(mixture, self.given)


@torch.no_grad()
def validate(model: WithSuperResolution, separated: list[tuple[Example, Tensor]]) -> dict[str, float]:
    """Mean improvement of SI-SDR in dB, of all sources and of each."""
    found: dict[str, list[float]] = {}
    for item, estimates in separated:
        mixture = item.mixture.unsqueeze(0)
        refined = model.super_resolution(mixture, estimates)[0]
        exchangeable, names = model.spec.exchangeable, model.spec.sources
        score = score_estimates(refined, item.references, item.mixture, exchangeable=exchangeable, sources=names)
        for target, reference in zip(score.targets, item.references, strict=True):
            if reference.any():
                name = "mean" if exchangeable else target.source
                found.setdefault(name, []).append(min(target.metrics["SI-SDRi"], 60.0))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {"mean": float(np.mean(list(means.values())))} | means


def train(config: TrainingConfig, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    model, average = (build(options, config) for _ in range(2))
    separator, post_filter, averaged = model.separator, model.super_resolution.train(), average.super_resolution
    averaged.load_state_dict(post_filter.state_dict())
    examples = Examples(config, separator.spec, options.corpus)
    separated = []
    for item in examples.valid_loader(0, 1):
        with torch.no_grad():
            separated.append((item, model.separate(item.mixture.unsqueeze(0))))
    optimiser = build_optimiser(post_filter, config.optimiser)
    for group in optimiser.param_groups:
        group["initial"] = group["lr"]
    step, best, known = 0, -math.inf, inspect_model(options.name).facts
    if (options.out / "state.pt").exists():
        state = torch.load(options.out / "state.pt", weights_only=True)
        post_filter.load_state_dict(state["network"])
        averaged.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, best = state["step"], state["best"]
    given = GivenEstimates(post_filter, separator)  # type: ignore[arg-type]
    objective = Objective(config, given)
    new = iter(examples.train_loader(step, 0, 1, torch.device("cpu")))
    replay, losses, begun = Replay(model, new, options.batch_size, options.seed + step), [], time.process_time()
    print(json.dumps({"step": step, **validate(average, separated)}), flush=True)
    while step < config.steps:
        batch, given.given = replay.draw()
        for group in optimiser.param_groups:
            group["lr"] = group["initial"] * config.schedule.share(step, config.steps)
        loss, _, _ = objective(given, batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(post_filter.parameters(), config.optimiser.gradient_clip or math.inf)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for ours, theirs in zip(averaged.parameters(), post_filter.parameters(), strict=True):
                ours.lerp_(theirs, max(1 - (config.averaging.ema_decay or 0), 3 / (step + 3)))
        losses.append(float(loss.detach()))
        if step % config.validation.every and step < config.steps:
            continue
        scores, spent = validate(average, separated), round(time.process_time() - begun)
        line = {"step": step, "cpu_seconds": spent, "loss": float(np.mean(losses)), **scores}
        print(json.dumps(line), flush=True)
        with (options.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if scores["mean"] > best:
            best = scores["mean"]
            facts = known | {"post_filter_steps": step, "valid_si_sdri_db": round(best, 3)}
            save_model(average, options.out / "best.safetensors", name=options.name, facts=facts)
        state = {"network": post_filter.state_dict(), "average": averaged.state_dict()}
        torch.save(
            {**state, "optimiser": optimiser.state_dict(), "step": step, "best": best}, options.out / "state.partial"
        )
        (options.out / "state.partial").rename(options.out / "state.pt")
        losses = []


def build(options: argparse.Namespace, config: TrainingConfig) -> WithSuperResolution:
    """The bundled model, or its separator with a new post-filter, or with the one of another model."""
    assert isinstance(config.model, WithSuperResolutionConfig)
    trained = load_model(options.separator or options.name)
    separator = trained.separator if isinstance(trained, WithSuperResolution) else trained
    separator = separator.eval().requires_grad_(False)
    model = WithSuperResolution(separator, config.model.super_resolution, config.model.both_polarities)
    begun = load_model(options.init or options.name)
    if isinstance(begun, WithSuperResolution) and not options.new:
        model.super_resolution.load_state_dict(begun.super_resolution.state_dict())
    return model


def main() -> None:
    tune_process()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[recipe.name.removesuffix(_SUFFIX) for recipe in POST_FILTERS])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--new", action="store_true", help="begin from nothing")
    parser.add_argument("--separator", help="weights of another separator to put it on")
    parser.add_argument("--init", help="begin with the post-filter of this model, of whatever separator")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--set", action="append", default=[], help="a setting of the recipe, as in `unbraid train`")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    config = apply_overrides(RECIPES[options.name + _SUFFIX].config, options.set)
    config = replace(config, steps=options.steps or config.steps, seed=options.seed, resident=True)
    options.batch_size = options.batch_size or config.batch_size
    config = replace(config, batch_size=1)
    train(config, options)


if __name__ == "__main__":
    main()
