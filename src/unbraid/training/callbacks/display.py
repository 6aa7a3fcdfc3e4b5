"""Steps, loss, scores, examples per second and time left on the terminal."""

from __future__ import annotations

import time

import lightning.pytorch as lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unbraid.training.task import SeparationTask


class LiveDisplay(lightning.Callback):
    """A live line on a terminal; one line per validation where there is none."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("step {task.completed:,}/{task.total:,}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self.bar = self.progress.add_task("train", total=None, text="")
        self.loss, self.score, self.step, self.steps, self.since = float("nan"), "", -1, 0, time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.progress.update(self.bar, total=trainer.max_steps, completed=trainer.global_step)
        self.step, self.since = trainer.global_step, time.monotonic()
        if self.console.is_terminal and trainer.is_global_zero:
            self.progress.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: dict, batch: object, index: int
    ) -> None:
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self.steps += 1
        # Reading the loss waits for a GPU, so only when it is shown.
        if self.steps % 10 == 1:
            if outputs:  # of a skipped step there is none
                loss = float(outputs["loss"])
                self.loss = loss if self.loss != self.loss else 0.9 * self.loss + 0.1 * loss
            text = f"loss {self.loss:.4g}   {self.score}   {self._rate(trainer, module)}"
            self.progress.update(self.bar, completed=trainer.global_step, text=text)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(module, SeparationTask)
        self.score = f"valid {module.metric} {module.scores().get(module.metric, float('nan')):.2f}"
        line = f"step {trainer.global_step:,}: loss {self.loss:.4g}, {self.score}, {self._rate(trainer, module)}"
        self.console.print(line, highlight=False)

    def _rate(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> str:
        assert isinstance(module, SeparationTask)
        per_second = self.steps / max(time.monotonic() - self.since, 1e-9)
        return f"{per_second * module.examples_per_step(trainer.world_size):.2f} examples/s"

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        self.progress.stop()
