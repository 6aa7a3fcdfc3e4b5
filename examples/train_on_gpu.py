"""Trains a bundled recipe on one rented GPU for some minutes, from a pack that `unbraid prepare pack` has made.

    python train_on_gpu.py speech pack/ results/ --minutes 8

All sounds are decoded onto the GPU in the first minute, and examples are drawn there. Ctrl-C or SIGTERM saves and
stops, and the same command resumes. What is left in the results is small enough to be sent home: the best weights, the
checkpoint, and the logs. See "Train on a rented GPU in ten minutes" in docs/training.md.
"""

import argparse
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

from unbraid.recipes import RECIPES
from unbraid.training.callbacks.checkpoints import LAST_CHECKPOINT
from unbraid.training.config import LogConfig, TrainingConfig, Trapezoid
from unbraid.training.fit import Machines, fit

BATCH_SIZE = 64


def for_gpu(recipe: str, steps: int, batch_size: int) -> TrainingConfig:
    """The recipe, for a GPU: bf16 but for S4's kernels and the losses, large batches, and one block compiled once."""
    config = RECIPES[recipe].config
    before = config.batch_size if isinstance(config.batch_size, int) else 4
    # ours: the rate grows with the root of the batch, and falls to nothing over the last third of a run so short.
    rate = config.optimiser.learning_rate * min(4.0, (batch_size / before) ** 0.5)
    return replace(
        config,
        resident=True,
        batch_size=batch_size,
        precision="bf16-mixed",
        compile=True,
        optimiser=replace(config.optimiser, learning_rate=rate),
        schedule=Trapezoid(warmup_steps=min(200, steps // 10), decay_share=0.35),
        averaging=replace(config.averaging, ema_decay=0.995, ema_start_step=min(100, steps // 4)),
        validation=replace(config.validation, every=max(1, min(500, steps // 4)), items=40),
        log=LogConfig(sounds=0),
        steps=steps,
        save_every=250,
    )


def rehearsal(config: TrainingConfig) -> TrainingConfig:
    """The same on a CPU in seconds: short examples, float32, uncompiled."""
    return replace(
        config,
        mixing=replace(config.mixing, segment_seconds=0.5),
        validation=replace(config.validation, items=1, piece_seconds=1.0),
        precision="32-true",
        compile=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=["speech", "speech-noisy", "cinematic", "music"])
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--init", default=None, help="weights to start from; by default the bundled ones")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=BATCH_SIZE)
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it saves and stops")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, to see that all of it works")
    options = parser.parse_args()
    config = for_gpu(options.recipe, options.steps, options.batch)
    if options.rehearse:
        config = rehearsal(config)
    timer = threading.Timer(60 * options.minutes, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    begun, resume = time.monotonic(), (options.out / LAST_CHECKPOINT).exists()
    try:
        fit(
            config,
            options.pack,
            options.out,
            resume=resume,
            init=None if resume else options.init or options.recipe,
            machines=Machines(accelerator="cpu" if options.rehearse else "gpu"),
        )
    except KeyboardInterrupt as stopped:
        print(stopped)
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{time.monotonic() - begun:.0f} s; {size / 1e6:.1f} MB in {options.out}")


if __name__ == "__main__":
    main()
