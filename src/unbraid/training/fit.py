"""Runs a training config to its end, or on from where it stopped."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.console import Console

from unbraid.errors import ConfigError, DataError
from unbraid.training.callbacks import (
    BEST_WEIGHTS,
    LAST_CHECKPOINT,
    AtomicCheckpoint,
    BestWeights,
    Interrupted,
    LiveDisplay,
)
from unbraid.training.config import TrainingConfig
from unbraid.training.task import SpeakerSeparation


def fit(config: TrainingConfig, data: Path, out: Path, *, resume: bool = False, console: Console | None = None) -> Path:
    """Trains and returns the path of the best weights.

    `out` gets `last.ckpt` (to resume from), `best.safetensors` (to separate with), and the logs. An `out` that already
    holds a run is refused unless `resume` is set, and `resume` without one is refused as well.
    """
    checkpoint = out / LAST_CHECKPOINT
    if checkpoint.exists() and not resume:
        raise ConfigError(f"{out} already holds a run: add --resume to go on with it, or choose another --out")
    if resume and not checkpoint.exists():
        raise ConfigError(f"nothing to resume in {out}: there is no {LAST_CHECKPOINT}; leave out --resume to start")
    if not data.is_dir():
        raise DataError(f"{data} is not a folder; --data names the folder that holds the corpus")
    out.mkdir(parents=True, exist_ok=True)
    _quieten()
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    task = SpeakerSeparation(config, data)
    checkpoints = AtomicCheckpoint(out, config.save_every)
    # Each start logs into a folder of its own, because a logger empties the folder that it finds.
    started = time.strftime("%Y%m%d-%H%M%S")
    trainer = lightning.Trainer(
        max_steps=config.steps,
        max_epochs=-1,
        # One epoch is the stretch between two validations; the loader is made anew for each, at the current step.
        limit_train_batches=config.validate_every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=config.optimiser.gradient_clip,
        precision=config.precision,
        callbacks=[
            BestWeights(out, config.name),
            LiveDisplay(console or Console(stderr=True)),
            EMAWeightAveraging(decay=config.optimiser.ema_decay, update_starting_at_step=config.optimiser.warmup_steps),
            checkpoints,
        ],
        logger=[CSVLogger(out, name="logs", version=started), TensorBoardLogger(out, name="logs", version=started)],
        log_every_n_steps=20,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    (out / "config.txt").write_text("\n".join(f"{key} = {value}" for key, value in asdict(config).items()) + "\n")
    try:
        with checkpoints.listening():
            # Our checkpoints hold tensors and plain numbers only, so nothing needs to be unpickled.
            trainer.fit(task, ckpt_path=checkpoint if resume else None, weights_only=True)
    except Interrupted as interrupted:
        raise KeyboardInterrupt(f"stopped at step {trainer.global_step}; --resume goes on from there") from interrupted
    if trainer.global_step % config.validate_every:
        # The last weights have not been scored yet, and they are often the best.
        trainer.validate(task, verbose=False)
    return out / BEST_WEIGHTS


def _quieten() -> None:
    """Lightning's own remarks are for its developers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    torch.set_float32_matmul_precision("high")
