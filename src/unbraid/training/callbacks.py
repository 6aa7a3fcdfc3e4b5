"""What runs beside training: checkpoints that are never half-written, the best weights, and a live display."""

from __future__ import annotations

import os
import time
from pathlib import Path

import lightning.pytorch as lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unbraid.training.task import SpeakerSeparation
from unbraid.weights.store import save_model

LAST_CHECKPOINT = "last.ckpt"
BEST_WEIGHTS = "best.safetensors"


class AtomicCheckpoint(lightning.Callback):
    """Writes `last.ckpt` every so many steps and at the end; a crash or a full disk leaves the one before."""

    def __init__(self, folder: Path, every: int) -> None:
        self.path, self.every = folder / LAST_CHECKPOINT, every

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_exception(self, trainer: lightning.Trainer, module: object, exception: BaseException) -> None:
        # Between two batches the state is whole; inside a step Lightning raises only after the step is undone or done.
        if isinstance(exception, KeyboardInterrupt) and trainer.global_step:
            self.save(trainer)

    def save(self, trainer: lightning.Trainer) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            trainer.save_checkpoint(partial)
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)


class BestWeights(lightning.Callback):
    """Keeps the weights with the best validation score as a safetensors file that `unbraid separate -n` takes.

    Stands before the averaging callback in the list, so that it sees the averaged weights during validation.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.name, self.best = folder / BEST_WEIGHTS, name, float("-inf")

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SpeakerSeparation)
        score = trainer.callback_metrics.get("valid_si_sdri_db")
        if trainer.sanity_checking or score is None or float(score) <= self.best:
            return
        self.best = float(score)
        facts = {"recipe": module.config.name, "steps": trainer.global_step, "valid_si_sdri_db": round(self.best, 3)}
        save_model(module.model, self.path, name=self.name, facts=facts)

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.best = state_dict["best"]


class LiveDisplay(lightning.Callback):
    """Steps, loss, validation score, examples per second and time left; one line per validation when not a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("step {task.completed:,}/{task.total:,}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self.bar = self.progress.add_task("train", total=None, text="")
        self.loss, self.score, self.seen, self.since = float("nan"), float("nan"), 0, time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.progress.update(self.bar, total=trainer.max_steps, completed=trainer.global_step)
        if self.console.is_terminal:
            self.progress.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: dict, batch: object, index: int
    ) -> None:
        loss = float(outputs["loss"])
        self.loss = loss if self.loss != self.loss else 0.99 * self.loss + 0.01 * loss
        self.seen += 1
        rate = self.seen / (time.monotonic() - self.since)
        text = f"loss {self.loss:6.2f} dB   valid {self.score:5.2f} dB SI-SDRi   {rate:.2f} steps/s"
        self.progress.update(self.bar, completed=trainer.global_step, text=text)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.sanity_checking or "valid_si_sdri_db" not in trainer.callback_metrics:
            return
        self.score = float(trainer.callback_metrics["valid_si_sdri_db"])
        rate = self.seen / (time.monotonic() - self.since)
        self.console.print(
            f"step {trainer.global_step:,}: loss {self.loss:.2f} dB, valid {self.score:.2f} dB SI-SDRi, "
            f"{rate:.2f} steps/s",
            highlight=False,
        )

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        self.progress.stop()
