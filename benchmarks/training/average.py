"""The mean of several trainings of one model, which errs less than each of them where they began with the same weights.

    python -m benchmarks.training.average OUT.safetensors ONE.safetensors TWO.safetensors ...

A model that is named twice counts twice. Facts and sources are those of the last.
"""

from __future__ import annotations

import argparse

import torch

from unbraid.weights.store import inspect_model, load_model, save_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("models", nargs="+", help="names or files")
    options = parser.parse_args()
    models = [load_model(name) for name in options.models]
    states, mean = [model.state_dict() for model in models], models[-1]
    averaged = {name: torch.stack([state[name].float() for state in states]).mean(0) for name in mean.state_dict()}
    mean.load_state_dict(averaged)
    found = inspect_model(options.models[-1])
    print(save_model(mean, options.out, name=found.name, facts=found.facts))


if __name__ == "__main__":
    main()
