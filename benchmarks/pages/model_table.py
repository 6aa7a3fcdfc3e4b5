"""Writes the README's table of models from data: cards, weights files and the registry of published models.

python -m benchmarks.pages.model_table              everything but the costs of bundled models, which are kept
python -m benchmarks.pages.model_table --measure    those too: CPU seconds of one core per second of audio, one thread
"""

import argparse
import re
from pathlib import Path

from unbraid.weights.listing import PRETRAINED, bundled_entry, bundled_models
from unbraid.weights.published.registry import PublishedModel, published_models

README = Path(__file__).parents[2] / "README.md"
MARK = "model table"
HEAD = (
    "| task | model | separates | score | size | CPU s per s | licence |",
    "|---|---|---|---|---|---|---|",
)
TASKS = {"speech": "speech", "music": "music", "film": "film sound"}
LICENCE = "MIT"
"""Of the bundled weights, as of the code."""
SHOWN = (
    *("sepformer-wsj0-2mix", "sepformer-wsj0-3mix", "sepformer-whamr16k"),
    *("htdemucs", "htdemucs_ft", "sfc-music-medium", "scnet-xl"),
    *("sfc-film-medium",),
)
"""Of the published ones; `unbraid models list` has all."""


def task_of(sources: list[str]) -> str:
    if "dialogue" in sources:
        return "film"
    return "music" if "vocals" in sources else "speech"


def score_of(card: str) -> str:
    """The improvement over all mixtures of the card's first list, with its interval.

    In SI-SDR where the card has it: a mixture that is only turned down gains in SNR already.
    """
    tables = re.findall(r"Mean (\S+) in dB on the list `(\S+)`.*?^(\| all \|.*?)$", card, re.M | re.S)
    measure, data, row = next((one for one in tables if one[0] == "SI-SDR"), tables[0])
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    low, high = (float(bound) for bound in cells[4].split(" to "))
    return f"{float(cells[3]):+.1f} dB {measure}i ({low:+.1f} to {high:+.1f}), {cells[0]} mixtures of `{data}`"


def bundled_row(name: str, cost: str) -> str:
    entry = bundled_entry(name)
    card = (PRETRAINED / f"{name}.md").read_text(encoding="utf-8")
    size = (PRETRAINED / f"{name}.safetensors").stat().st_size / 2**20
    sources = entry["sources"]
    separates = f"{len(sources)} speakers" if entry["exchangeable"] else ", ".join(sources)
    note = ", experimental" if "**Experimental**" in card else ""
    task = TASKS[task_of(sources)]
    return (
        f"| {task} | `{name}` (bundled{note}) | {separates}, {entry['sample_rate'] / 1000:g} kHz | {score_of(card)} | "
        f"{size:.1f} MiB | {cost} | {LICENCE} |"
    )


def published_row(model: PublishedModel) -> str:
    score = "; ".join(f"{one.value:g} {one.unit} {one.measure}, {one.data}" for one in model.scores) or "not stated"
    separates = f"{len(model.stems)} speakers" if model.task == "speech" else ", ".join(model.stems)
    size = f"{model.size_mb} MB" if model.size_mb else ""
    return (
        f"| {TASKS[model.task]} | `{model.name}` | {separates}, {model.rate / 1000:g} kHz | {score} | {size} | "
        f"{model.cpu_seconds:g} | {model.licence or 'not stated'} |"
    )


def costs_of(text: str) -> dict[str, str]:
    """What the table says a bundled model costs."""
    rows = [line.split("|") for line in text.splitlines() if "(bundled" in line]
    return {cells[2].split("`")[1]: cells[6].strip() for cells in rows}


def table(costs: dict[str, str]) -> str:
    """All rows, by task; bundled models first."""
    rows = [
        (task_of(bundled_entry(name)["sources"]), bundled_row(name, costs.get(name, "?"))) for name in bundled_models()
    ]
    rows += [(published_models()[name].task, published_row(published_models()[name])) for name in SHOWN]
    return "\n".join([*HEAD, *(row for task in TASKS for of, row in rows if of == task)])


def measure_costs() -> dict[str, str]:
    import torch

    from unbraid.inspection.profile import profile_model
    from unbraid.weights.store import load_model

    torch.set_num_threads(1)
    costs = {}
    for name in bundled_models():
        cost = profile_model(load_model(name), name=name, seconds=10.0)
        costs[name] = f"{cost.cpu_seconds_per_second:.2g}"
    return costs


def fill(path: Path, mark: str, text: str) -> None:
    """Replaces what stands between the two marks."""
    before = path.read_text(encoding="utf-8")
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    after, count = re.subn(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", before, flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} needs the marks <!-- {mark} --> and <!-- /{mark} --> once")
    path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the costs of bundled models anew")
    known = costs_of(README.read_text(encoding="utf-8"))
    fill(README, MARK, table(known | measure_costs() if parser.parse_args().measure else known))
