"""What one step past each paper brings, in runs of a few CPU minutes: data, examples, loss and seed shared in a group.

    python -m benchmarks.papers.past_papers --list
    python -m benchmarks.papers.past_papers CORPUS OUT --row mtfa-gated --seed 1       resumes; what is done is skipped
    python -m benchmarks.papers.past_papers CORPUS OUT --queue 1,2,3 --rows mtfa       one row after the other
    python -m benchmarks.papers.past_papers OUT --table mtfa
    python -m benchmarks.papers.past_papers --costs                                       of every row, without training

Within a group, weights of the same name and shape begin alike. Every row trains until it has had so many CPU seconds
and so many steps. The rate stays level and weights are averaged, so that any moment may be compared: rows are scored at
equal steps and at equal CPU seconds. CPU seconds are those of forward, backward and optimiser; drawing examples and
scoring are not counted. Nothing is chosen by a score, so that all scores are of the test items.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.papers.past_papers_rows import ROWS, Row
from benchmarks.papers.trained_runs import size_and_macs
from unbraid.data.items import Example
from unbraid.data.loaders import DrawnExamples, ExampleStream
from unbraid.data.mixing.drawing import build_drawer
from unbraid.data.open import open_dataset
from unbraid.inspection.profile import noise
from unbraid.losses.permutation import pairwise_distances, reorder
from unbraid.metrics.ratios import si_sdr, snr
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel
from unbraid.separation.process import tune_process
from unbraid.signal.assignment import cheapest_assignment
from unbraid.training.optimisation.objective import Objective
from unbraid.training.optimisation.optimisers import build_optimiser

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the budget of CPU seconds, at which a run is scored."""


@dataclass(frozen=True)
class Score:
    """A run at one moment."""

    at: str
    """A share of the budget of CPU seconds, or "steps" for the group's number of steps."""

    step: int

    cpu_seconds: float

    values: dict[str, list[float | None]]
    """By source and measure, one value per test item; None where an item says nothing."""


def train(row: Row, seed: int, corpus: Path, out: Path) -> None:
    """One run; its scores go to OUT/ROW-SEED.json when it is done."""
    file, group = out / f"{row.name}-{seed}.json", row.group
    if file.exists():
        return
    model = begin(row, seed).train()
    average = build_model(row.config.model)
    average.load_state_dict(model.state_dict())
    heard, unheard = (open_dataset(corpus, split, group.layout) for split in ("train", group.split))
    drawer = build_drawer(heard, row.config.mixing, model.spec)
    batches = draw_batches(ExampleStream(drawer, seed, group.batch_size), row, seed, out)
    drawn = DrawnExamples(unheard, row.config.mixing, model.spec, 0, group.num_test)
    test = [drawn[index] for index in range(group.num_test)]
    objective, optimiser = Objective(row.config, model), build_optimiser(model, row.config.optimiser)
    rates = [one["lr"] for one in optimiser.param_groups]
    marks, scores, spent, step = [share * group.cpu_seconds for share in SHARES], [], 0.0, 0
    while marks or step < group.steps:
        batch = batches[step % len(batches)]
        begun = time.process_time()
        for one, rate in zip(optimiser.param_groups, rates, strict=True):
            one["lr"] = rate * min(1.0, (step + 1) / group.warmup_steps)
        optimiser.zero_grad()
        objective(model, batch).total.backward()
        if row.config.optimiser.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), row.config.optimiser.gradient_clip)
        optimiser.step()
        step += 1
        _average(model, average, step, group.averaged)
        spent += time.process_time() - begun
        if step == group.steps:
            scores.append(Score("steps", step, spent, evaluate(average, test)))
        while marks and spent >= marks[0]:
            share = marks.pop(0) / group.cpu_seconds
            scores.append(Score(f"{share:g}", step, spent, evaluate(average, test)))
            print(f"{row.name} seed {seed}: step {step}, {spent:.0f} CPU s, {_summary(scores[-1])}", flush=True)
    data = {
        "row": row.name,
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "machine": machine.describe(),
        "scores": [asdict(score) for score in scores],
        "learned": row.learned(model),
    }
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(data), encoding="utf-8")
    partial.rename(file)


def begin(row: Row, seed: int) -> SeparationModel:
    """Fresh weights; what a row has in common with the first of its group begins alike."""
    first = next(other for other in ROWS.values() if other.group is row.group)
    weights = []
    for one in (first, row):
        torch.manual_seed(seed)
        weights.append(build_model(one.config.model))
    known, own = weights[0].state_dict(), weights[1].state_dict()
    shared = {name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape}
    weights[1].load_state_dict(own | shared)
    return weights[1]


def draw_batches(stream: ExampleStream, row: Row, seed: int, out: Path) -> list[Example]:
    """The examples of a group and seed, which are drawn once and come again after the last."""
    file = out / f"examples-{row.examples}-{seed}.pt"
    if not file.exists():
        drawn = [tuple(batch) for batch in islice(stream, row.group.num_batches)]
        torch.save(drawn, file.with_suffix(".partial"))
        file.with_suffix(".partial").rename(file)
    return [Example(*batch) for batch in torch.load(file, weights_only=True)]


@torch.no_grad()
def _average(model: SeparationModel, average: SeparationModel, step: int, decay: float) -> None:
    """Buffers, which are statistics of batch norms, are taken over as they are."""
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        ours.lerp_(theirs, max(1 - decay, 3 / (step + 3)) if decay else 1.0)
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


@torch.inference_mode()
def evaluate(model: SeparationModel, test: list[Example]) -> dict[str, list[float | None]]:
    """SDR and its scale-invariant improvement of every source of every item."""
    found: dict[str, list[float | None]] = {}
    for item in test:
        estimates = model.eval()(item.mixture.unsqueeze(0))[0]
        references, mixture = item.references, item.mixture
        if model.spec.exchangeable:
            pairs = pairwise_distances(_negative_si_sdr, estimates.unsqueeze(0), references.unsqueeze(0))
            estimates = reorder(estimates.unsqueeze(0), cheapest_assignment(pairs))[0]
        gains = si_sdr(estimates, references) - si_sdr(mixture.expand_as(references), references)
        values = {"SI-SDRi": gains.mean(-1), "SDR": snr(estimates, references).mean(-1)}
        sources = ["both"] * len(references) if model.spec.exchangeable else list(model.spec.sources)
        for name, numbers in values.items():
            for source, value, present in zip(sources, numbers.tolist(), item.present.tolist(), strict=True):
                usable = present and np.isfinite(value)
                found.setdefault(f"{source} {name}", []).append(value if usable else None)
    return found


def _negative_si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    return -si_sdr(estimate, reference.contiguous()).mean(-1)


def _summary(score: Score) -> str:
    return ", ".join(f"{name} {mean(values):.2f}" for name, values in score.values.items())


def mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def print_tables(out: Path, only: str) -> None:
    """Per group: the rows at equal steps and at each share of the CPU seconds, means and spreads over seeds."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*.json"))]
    for group in dict.fromkeys(row.group for row in ROWS.values() if row.name.startswith(only)):
        rows = [row for row in ROWS.values() if row.group is group]
        done = {row.name: {run["seed"]: run for run in runs if run["row"] == row.name} for row in rows}
        if not any(done.values()):
            continue
        print(f"\n## {group.name}: {group.about}")
        for measure in group.measures:
            for at in ("steps", *(f"{share:g}" for share in SHARES)):
                where = f"{group.steps} steps" if at == "steps" else f"{float(at) * group.cpu_seconds:.0f} CPU s"
                print(f"\n{measure} after {where}\n")
                print(
                    "| run | parameters | steps | CPU s | by seed | mean | against the first, by seed | mean | spread |"
                )
                print("|---|---|---|---|---|---|---|---|---|")
                first = _by_seed(done[rows[0].name], at, measure)
                for row in rows:
                    _print_row(row, done[row.name], at, measure, first)
        for row in rows:
            for seed, run in sorted(done[row.name].items()):
                if run["learned"]:
                    print(f"{row.name}, seed {seed}: {run['learned']}")


def _print_row(row: Row, runs: dict[int, dict], at: str, measure: str, first: dict[int, float]) -> None:
    found = _by_seed(runs, at, measure)
    if not found:
        return
    moments = [score for run in runs.values() for score in run["scores"] if score["at"] == at]
    steps, cpu = (np.mean([score[key] for score in moments]) for key in ("step", "cpu_seconds"))
    size = next(iter(runs.values()))["parameters"]
    changes = [found[seed] - first[seed] for seed in sorted(found) if seed in first]
    spread = f"{np.std(changes, ddof=1):.2f}" if len(changes) > 1 else ""
    beside = [", ".join(f"{change:+.2f}" for change in changes), f"{np.mean(changes):+.2f}", spread]
    if found == first or not changes:
        beside = ["", "", ""]
    by_seed = ", ".join(f"{found[seed]:.2f}" for seed in sorted(found))
    cells = [
        row.name,
        f"{size:,}",
        f"{steps:.0f}",
        f"{cpu:.0f}",
        by_seed,
        f"{np.mean(list(found.values())):.2f}",
        *beside,
    ]
    print(f"| {' | '.join(cells)} |")


def _by_seed(runs: dict[int, dict], at: str, measure: str) -> dict[int, float]:
    return {
        seed: mean(score["values"][measure])
        for seed, run in runs.items()
        for score in run["scores"]
        if score["at"] == at and measure in score["values"]
    }


def print_costs(seconds: float = 4.0, repeats: int = 5) -> None:
    """Size, multiplications and CPU time of every row's model, random weights, the rows of a group taken in turn."""
    print("| run | parameters | GMAC/s | CPU ms per s | against the first |\n|---|---|---|---|---|")
    for group in dict.fromkeys(row.group for row in ROWS.values()):
        models = {row.name: build_model(row.config.model) for row in ROWS.values() if row.group is group}
        first = next(iter(models))
        mixture = noise(models[first], seconds)
        taken: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(repeats):
            for name, model in models.items():
                begun = time.process_time()
                with torch.inference_mode():
                    model(mixture)
                taken[name].append(1000 * (time.process_time() - begun) / seconds)
        for name, model in models.items():
            size, macs = size_and_macs(model, seconds)
            ratio = min(taken[name]) / min(taken[first])
            print(f"| {name} | {size:,} | {macs:.3f} | {min(taken[name]):.1f} | x{ratio:.2f} |", flush=True)


def _queue(seeds: list[int], only: list[str]) -> Iterator[tuple[Row, int]]:
    for seed in seeds:
        for row in ROWS.values():
            if any(row.name.startswith(start) for start in only):
                yield row, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="CORPUS OUT, or OUT for --table")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--row", choices=list(ROWS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--queue", help="seeds, with commas: all rows for the first, then for the next")
    parser.add_argument("--rows", default="", help="beginnings of the names of rows that --queue runs, with commas")
    parser.add_argument("--table", help="beginning of the names of the groups to print", nargs="?", const="")
    options = parser.parse_args()
    if options.costs:
        torch.set_num_threads(1)
        tune_process()
        print(f"{machine.describe()}\n")
        print_costs()
        return
    if options.list or not options.folders:
        for row in ROWS.values():
            print(f"{row.name:28} {row.group.name:16} {row.about}")
        return
    if options.table is not None:
        print_tables(options.folders[-1], options.table)
        return
    torch.set_num_threads(1)
    tune_process()
    corpus, out = options.folders
    out.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in (options.queue or str(options.seed)).split(",")]
    for row, seed in _queue(seeds, [options.row] if options.row else options.rows.split(",")):
        train(row, seed, corpus, out)


if __name__ == "__main__":
    main()
