"""Writes measured scores into the models' cards and into the README, from what `unbraid evaluate --json` gave:

unbraid evaluate speech CORPUS --list speech-test --json speech.json
unbraid evaluate cinematic CORPUS --list cinematic-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json cinematic.json
unbraid evaluate music CORPUS --list music-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json music.json
unbraid evaluate music CORPUS --list music-song-test --metrics SNR,SNRi,SI-SDR,SI-SDRi --json song.json
python -m benchmarks.pages.model_card speech=speech.json cinematic=cinematic.json music=music.json,song.json

The README's table of models, which has the first scores of each, is written anew from the cards.
"""

import argparse
import json
from pathlib import Path

from benchmarks.pages.model_table import MARK, README, costs_of, fill, table
from unbraid.weights.listing import PRETRAINED


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", metavar="NAME=JSON", help="bundled models with their scores")
    options = parser.parse_args()
    for pair in options.scores:
        name, _, paths = pair.partition("=")
        found = [json.loads(Path(path).read_text()) for path in paths.split(",")]
        fill(PRETRAINED / f"{name}.md", "scores", "\n\n".join(scores_tables(scores) for scores in found))
    fill(README, MARK, table(costs_of(README.read_text(encoding="utf-8"))))
