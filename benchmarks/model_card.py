"""Writes measured scores into a model's card and into the README, from what `unbraid evaluate --json` gave:

unbraid evaluate speech --data CORPUS --list speech-test --json scores.json
python -m benchmarks.model_card speech scores.json
"""

import argparse
import json
import re
from pathlib import Path

from unbraid.evaluation.profile import profile_model
from unbraid.inference.process import tune_process
from unbraid.weights.store import PRETRAINED, find_weights, inspect_model, load_model

README = Path(__file__).parents[1] / "README.md"


def row(group: dict) -> str:
    after, improvement = (group["measures"][name]["mean"] for name in ("SI-SDR", "SI-SDRi"))
    interval = "" if improvement["low"] is None else f"{improvement['low']:+.2f} to {improvement['high']:+.2f}"
    median = group["measures"]["SI-SDRi"]["median"]["value"]
    return (
        f"| {group['name']} | {group['count']} | {after['value'] - improvement['value']:.2f} | {after['value']:.2f} | "
        f"{improvement['value']:+.2f} | {interval} | {median:+.2f} |"
    )


def scores_table(scores: dict) -> str:
    lines = [
        f"Mean SI-SDR in dB on the list `{scores['data']['name']}`, with a bootstrap 95 % interval of the improvement:",
        "",
        "| mixtures | n | before | after | improvement | 95 % | median |",
        "|---|---|---|---|---|---|---|",
        row(scores["summary"]["overall"]),
    ]
    for group in scores["summary"]["breakdowns"].values():
        lines += [row(score) for score in group]
    return "\n".join(lines)


def readme_table(name: str, scores: dict) -> str:
    stored, model = inspect_model(name), load_model(name)
    cost = profile_model(model, name=name, seconds=10.0)
    overall = scores["summary"]["overall"]["measures"]["SI-SDRi"]["mean"]
    size = find_weights(name).stat().st_size / 2**20
    return "\n".join(
        [
            "| model | takes apart | rate | parameters | file | GMAC per second | measured |",
            "|---|---|---|---|---|---|---|",
            f"| `{name}` ({stored.architecture.upper()}) | {model.spec.num_sources} speakers | "
            f"{model.spec.sample_rate // 1000} kHz | {cost.parameters / 1e6:.2f} M | {size:.1f} MiB | "
            f"{cost.macs_per_second / 1e9:.2f} | {overall['value']:+.1f} dB SI-SDR "
            f"({overall['low']:+.1f} to {overall['high']:+.1f}) on {scores['summary']['overall']['count']} test "
            "mixtures |",
        ]
    )


def fill(path: Path, mark: str, text: str) -> None:
    """Replaces what stands between the two marks."""
    before = path.read_text()
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    after, count = re.subn(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", before, flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} needs the marks <!-- {mark} --> and <!-- /{mark} --> once")
    path.write_text(after)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("scores", type=Path)
    options = parser.parse_args()
    tune_process()
    found = json.loads(options.scores.read_text())
    fill(PRETRAINED / f"{options.name}.md", "scores", scores_table(found))
    fill(README, "model table", readme_table(options.name, found))
