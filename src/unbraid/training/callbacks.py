"""What runs beside training: checkpoints that are never half-written, the best weights, and a live display."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unbraid.errors import DiskSpaceError
from unbraid.training.task import SpeakerSeparation
from unbraid.weights.store import save_model

LAST_CHECKPOINT = "last.ckpt"
BEST_WEIGHTS = "best.safetensors"


class Interrupted(Exception):
    """Training was asked to stop, and everything is saved."""


class AtomicCheckpoint(lightning.Callback):
    """Writes `last.ckpt` every so many steps and at the last one; a crash or a full disk leaves the one before.

    On Ctrl-C or SIGTERM the step under way is finished and saved, then `Interrupted` is raised. Stands after the
    averaging callback in the list, so that the averaged weights are those of this step.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.path, self.every, self.stop_requested = folder / LAST_CHECKPOINT, every, False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While in here, the first signal asks for a stop and a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request_stop(self, number: int, frame: object) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if self.stop_requested or trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self.save(trainer)
        if self.stop_requested:
            raise Interrupted

    def save(self, trainer: lightning.Trainer) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            trainer.save_checkpoint(partial)
            os.replace(partial, self.path)
        except OSError as error:
            raise DiskSpaceError(
                f"cannot write the checkpoint {self.path} ({error.strerror or error}): free some space and go on with "
                "--resume; the checkpoint before is still whole"
            ) from error
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
