"""Writes measured scores into the models' cards and into the README, from what `unbraid evaluate --json` gave:

unbraid evaluate speech CORPUS --list speech-test --json speech.json
unbraid evaluate cinematic CORPUS --list cinematic-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json cinematic.json
unbraid evaluate music CORPUS --list music-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json music.json
unbraid evaluate music CORPUS --list music-song-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json song.json
python -m benchmarks.model_card speech=speech.json cinematic=cinematic.json music=music.json,song.json

The README has the first scores of a model. Models that are not named keep their row of the README.
"""

import argparse
import json
import re
from pathlib import Path

from unbraid.inspection.profile import profile_model
from unbraid.separation.process import tune_process
from unbraid.weights.store import PRETRAINED, find_weights, inspect_model, load_model

README = Path(__file__).parents[1] / "README.md"


def row(group: dict, measure: str, label: str = "") -> str:
    """Mean of the measure before and after, its improvement with its interval, and the median improvement."""
    after, improvement = (group["measures"][name]["mean"] for name in (measure, f"{measure}i"))
    interval = "" if improvement["low"] is None else f"{improvement['low']:+.2f} to {improvement['high']:+.2f}"
    median = group["measures"][f"{measure}i"]["median"]["value"]
    return (
        f"| {label}{group['name']} | {group['count']} | {after['value'] - improvement['value']:.2f} | "
        f"{after['value']:.2f} | {improvement['value']:+.2f} | {interval} | {median:+.2f} |"
    )


def scores_tables(scores: dict) -> str:
    """One table per measure that there is an improvement of."""
    summary = scores["summary"]
    measures = [name for name in ("SNR", "SI-SDR") if {name, f"{name}i"} <= set(summary["overall"]["measures"])]
    lines = []
    for measure in measures:
        lines += [
            f"Mean {measure} in dB on the list `{scores['data']['name']}`, with a bootstrap 95 % interval of the "
            "improvement:",
            "",
            "| mixtures | n | before | after | improvement | 95 % | median |",
            "|---|---|---|---|---|---|---|",
            row(summary["overall"], measure),
            *(row(group, measure) for group in summary["sources"]),
            *(row(group, measure, f"{label}: ") for label, groups in summary["breakdowns"].items() for group in groups),
            "",
        ]
    return "\n".join(lines[:-1])


def readme_row(name: str, scores: dict) -> str:
    stored, model = inspect_model(name), load_model(name)
    cost = profile_model(model, name=name, seconds=10.0)
    summary, spec = scores["summary"], model.spec
    # A mixture turned down already gains in SNR, which the scale-invariant measure does not count.
    measure = "SI-SDR" if "SI-SDRi" in summary["overall"]["measures"] else "SNR"
    gain = summary["overall"]["measures"][f"{measure}i"]["mean"]
    apart = "".join(
        f", {group['name']} {group['measures'][f'{measure}i']['mean']['value']:+.1f}" for group in summary["sources"]
    )
    note = ", experimental" if stored.facts.get("experimental") else ""
    size = find_weights(name).stat().st_size / 2**20
    separates = f"{spec.num_sources} speakers" if spec.exchangeable else ", ".join(spec.sources)
    return (
        f"| `{name}` ({stored.architecture.upper()}{note}) | {separates} | {spec.sample_rate // 1000} kHz | "
        f"{cost.parameters / 1e6:.2f} M | {size:.1f} MiB | {cost.macs_per_second / 1e9:.2f} | "
        f"{gain['value']:+.1f} dB {measure} ({gain['low']:+.1f} to {gain['high']:+.1f}{apart}) on "
        f"{summary['overall']['count']} test mixtures |"
    )


def rows_of(path: Path, mark: str) -> dict[str, str]:
    """The rows between the two marks by the name of their model, in order; headings by what they are."""
    text = path.read_text().split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0]
    return {line.split("`")[1] if "`" in line else line: line for line in text.splitlines()}


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
    parser.add_argument("scores", nargs="+", metavar="NAME=JSON", help="bundled models with their scores")
    options = parser.parse_args()
    tune_process()
    rows = rows_of(README, "model table")
    for pair in options.scores:
        name, _, paths = pair.partition("=")
        found = [json.loads(Path(path).read_text()) for path in paths.split(",")]
        fill(PRETRAINED / f"{name}.md", "scores", "\n\n".join(scores_tables(scores) for scores in found))
        rows[name] = readme_row(name, found[0])
    fill(README, "model table", "\n".join(rows.values()))
