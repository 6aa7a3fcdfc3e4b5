"""A table of evaluations on the same tracks, each beside the first: scores and paired differences.

unbraid evaluate runs/plain/best.safetensors CORPUS --list speech-test --json plain.json      # and so on
python -m benchmarks.papers.ladder plain.json same.json rising.json
"""

import argparse
from pathlib import Path

from unbraid.evaluation.compare import compare
from unbraid.evaluation.scores import read_scores


def run(files: list[Path]) -> None:
    first = read_scores(files[0])
    print("| run | SI-SDRi in dB | more than the first | 95 %, paired | better, worse |")
    print("|---|---|---|---|---|")
    for number, file in enumerate(files):
        found = compare(first, read_scores(file), "SI-SDRi").overall
        change = "| | | |"
        if number:
            mean = found.mean
            change = f"| {mean.value:+.2f} | {mean.low:+.2f} to {mean.high:+.2f} | {found.better}, {found.worse} |"
        print(f"| {file.stem} | {found.second:.2f} {change}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    run(parser.parse_args().files)
