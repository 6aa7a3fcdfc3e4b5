"""Where a run stands, in the counts of Lightning's loops: steps, batches, and epochs between validations."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning

from unbraid.training.config import TrainingConfig


def start_at(trainer: lightning.Trainer, step: int, config: TrainingConfig) -> None:
    """Makes a trainer that has not begun stand after this step, as if it had resumed there.

    Its examples, validations and saves then fall on the same steps as in a run that was never stopped.
    """
    if not step:
        return
    counts = trainer.fit_loop.state_dict()
    counts["epoch_loop.state_dict"]["_batches_that_stepped"] = step
    optimiser = counts["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    within = step % config.validation.every
    for progress in (optimiser, counts["epoch_loop.scheduler_progress"]):
        progress["total"].update(ready=step, completed=step)
        progress["current"].update(ready=within, completed=within)
    count_batches(counts, step, config)
    trainer.fit_loop.load_state_dict(counts)


def count_batches(counts: dict[str, Any], step: int, config: TrainingConfig) -> None:
    """Sets batches and epochs to what they are after this step with the present accumulation and validations."""
    epoch, within = divmod(step, config.validation.every)
    progress = counts["epoch_loop.batch_progress"]
    for part, batches in (("current", within * config.accumulate), ("total", step * config.accumulate)):
        progress[part].update(ready=batches, started=batches, processed=batches, completed=batches)
    progress["is_last_batch"] = False
    counts["epoch_progress"]["current"].update(ready=epoch + 1, started=epoch + 1, processed=epoch, completed=epoch)
