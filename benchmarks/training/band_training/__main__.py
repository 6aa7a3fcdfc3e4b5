"""`python -m benchmarks.training.band_training measure|train ...`: see the package."""

from __future__ import annotations

import argparse
from pathlib import Path

import benchmarks.training.band_training as package
from benchmarks.training.band_training.learn import train
from benchmarks.training.band_training.measure import measure
from unbraid.separation.process import tune_process


def main() -> None:
    tune_process()
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("corpora", type=Path, nargs="+")
    measuring.add_argument("bands", type=Path)
    training = commands.add_parser("train")
    training.add_argument("bands", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--preset", default="fb-small", help="a model with a fixed filterbank")
    training.add_argument("--init", help="weights of the same preset to begin with, such as `music`")
    training.add_argument(
        "--teachers",
        nargs="+",
        default=[],
        help="weights of the same preset whose mean is learned instead of the truth",
    )
    training.add_argument("--vocals-teacher", help="weights whose vocals are learned; the teachers share out the rest")
    training.add_argument("--cpu-seconds", type=float, default=1000.0, help="the rate falls over the last quarter")
    training.add_argument("--every-seconds", type=float, default=60.0, help="CPU seconds between validations")
    training.add_argument("--batch-size", type=int, default=8)
    training.add_argument("--segment-seconds", type=float, default=4.0)
    training.add_argument("--optimiser", choices=["adamw", "muon"], default="adamw")
    training.add_argument("--learning-rate", type=float, default=3e-3)
    training.add_argument("--voices", type=float, default=0.35, help="share of speech among vocals of other songs")
    training.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.corpora, options.bands)
    else:
        train(options.bands, options.out, options)


if __name__ == "__main__":
    main()
