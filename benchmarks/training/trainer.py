"""What does the trainer cost? CPU time of a training run outside of forward and backward, by what it goes to.

    python -m benchmarks.training.trainer [--recipe speech] [--steps 40] [--data DIR]

Everything runs in one process with one thread, so that CPU time is all there is and a busy machine does not disturb it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.strategies import Strategy
from rich.console import Console

from benchmarks import machine
from unbraid.recipes import RECIPES
from unbraid.recipes.smoke import make_data
from unbraid.training import fit as fit_module
from unbraid.training.callbacks.averaging import ExponentialAverage
from unbraid.training.callbacks.checkpoints import AtomicCheckpoint
from unbraid.training.task import SeparationTask

_WARM_UP = 5


class Clock:
    """CPU time by name; what a timed function spends in another timed one counts for that one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner: list[float] = []

    def wrap(self, owner: Any, method: str, name: str) -> None:
        function = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent, inner = time.process_time() - begun, self._inner.pop()
                self.seconds[name] += spent - inner
                self.calls[name] += 1
                if self._inner:
                    self._inner[-1] += spent

        setattr(owner, method, timed)

    def clear(self) -> None:
        self.seconds.clear()
        self.calls.clear()


class Whole(lightning.Callback):
    """Times the run from the end of its warm-up to its last step."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.begun, self.seconds = clock, 0.0, 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == _WARM_UP:
            self.clock.clear()
            self.begun = time.process_time()
        self.seconds = time.process_time() - self.begun


def run(recipe: str = "speech", steps: int = 40, data: Path | None = None) -> None:
    torch.set_num_threads(1)
    clock = Clock()
    whole = Whole(clock)
    clock.wrap(SeparationTask, "training_step", "forward and loss")
    clock.wrap(Strategy, "backward", "backward")
    clock.wrap(torch.optim.Adam, "step", "optimiser")
    clock.wrap(SeparationTask, "configure_gradient_clipping", "gradient clipping")
    clock.wrap(ExponentialAverage, "on_train_batch_end", "average of weights")
    clock.wrap(AtomicCheckpoint, "save", "checkpoint")
    _time_batches(clock)
    callbacks: Callable[..., list] = fit_module._callbacks
    fit_module._callbacks = lambda *args: [whole, *callbacks(*args)]
    config = RECIPES[recipe].config
    every = config.save_every
    config = replace(
        config,
        steps=steps + _WARM_UP,
        save_every=10**9,
        num_workers=0,
        validation=replace(config.validation, every=10**6, items=1),
        log=replace(config.log, sounds=0),
    )
    with tempfile.TemporaryDirectory() as place:
        folder = data or make_data(config, Path(place) / "data")
        fit_module.fit(config, folder, Path(place) / "run", console=Console(quiet=True))
    save = clock.seconds.pop("checkpoint", 0.0) / max(clock.calls["checkpoint"], 1)
    # The last step saves; of a run it is one step in so many.
    total = whole.seconds + save * (steps / every)
    parts = dict(sorted(clock.seconds.items(), key=lambda part: -part[1]))
    parts[f"checkpoint, every {every} steps"] = save * steps / every
    parts["Lightning, logs, display"] = total - sum(parts.values())
    each = total / steps * 1e3
    print(f"recipe {recipe}, {steps} steps of {config.batch_size} examples, {each:.0f} ms of CPU per step")
    for name, seconds in parts.items():
        print(f"  {name:32} {seconds / steps * 1e3:8.2f} ms {seconds / total:7.2%}")
    model = parts["forward and loss"] + parts["backward"]
    outside = total - model - parts["examples"]
    print(f"outside of forward and backward, without examples: {outside / total:.2%}")
    print(f"outside of forward and backward, with examples made in the same process: {1 - model / total:.2%}")


def _time_batches(clock: Clock) -> None:
    from unbraid.data.loaders import ExampleStream

    batches = ExampleStream.__iter__

    def iterate(self: ExampleStream):
        source = SimpleNamespace(next=batches(self).__next__)
        clock.wrap(source, "next", "examples")
        while True:
            yield source.next()

    ExampleStream.__iter__ = iterate


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="speech")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--data", type=Path)
    print(machine.describe())
    run(**vars(parser.parse_args()))
