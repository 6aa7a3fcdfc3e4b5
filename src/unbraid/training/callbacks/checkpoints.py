"""Checkpoints that are never half-written, on time and when a run is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as lightning

from unbraid.errors import DiskSpaceError, DivergedError
from unbraid.training.callbacks.best import BestWeights
from unbraid.training.task import SeparationTask

LAST_CHECKPOINT = "last.ckpt"

_WRITERS = ("PytorchStreamWriter", "inline_container", "iostream")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Training was asked to stop, and everything is saved."""


class AtomicCheckpoint(lightning.Callback):
    """Writes `last.ckpt` every so many steps and at the last one; a crash or a full disk leaves the one before.

    A checkpoint that falls together with a validation is written after it, so that a resumed run has its outcome. On
    Ctrl-C or SIGTERM the step under way is finished and saved, then `Interrupted` is raised. Stands last in the list,
    so that all others have done their part for this step.
    """

    def __init__(self, folder: Path, every: int, best: BestWeights) -> None:
        self.path, self.every, self.best, self.stop_requested = folder / LAST_CHECKPOINT, every, best, False
        self._step, self._listening = -1, False
        self.has_started = False
        """Whether the run has come to its first step, and all that it resumes from is taken over."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While in here, the first signal asks for a stop and a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._request_stop) for number in _SIGNALS}
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request_stop(self, number: int, frame: object) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._step, self.has_started = trainer.global_step, True
        if self._listening:
            # Lightning has put a handler of its own before ours, which talks to the other processes in mid-step.
            for number in _SIGNALS:
                signal.signal(number, self._request_stop)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object) -> None:
        assert isinstance(module, SeparationTask)
        if trainer.global_step == self._step:
            return  # gradients are being accumulated
        self._step = trainer.global_step
        if self._step % module.config.validation.every:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._save_if_due(trainer)

    def _save_if_due(self, trainer: lightning.Trainer) -> None:
        stop = self.stop_requested
        if trainer.world_size > 1:
            # Every process has to stop after the same step, or the others would wait for it for ever.
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        done = trainer.global_step == trainer.max_steps or trainer.should_stop
        if stop or done or trainer.global_step % self.every == 0:
            self.save(trainer)
        if stop:
            raise Interrupted

    def save(self, trainer: lightning.Trainer) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in trainer.lightning_module.parameters()):
            raise DivergedError(
                f"at step {trainer.global_step} the weights are no longer finite numbers",
                remedy="continue from the checkpoint before with `resume=True` and a lower optimiser.learning_rate or "
                "optimiser.gradient_clip, or in precision=32-true",
            )
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.path)
        except (OSError, RuntimeError) as error:
            # PyTorch's writer has an error of its own for a full disk.
            if not isinstance(error, OSError) and not any(name in str(error) for name in _WRITERS):
                raise
            why = error.strerror if isinstance(error, OSError) else "the disk may be full"
            raise DiskSpaceError(
                f"cannot write the checkpoint {self.path} ({why or error})",
                remedy="free some space and continue with `resume=True`; the checkpoint before is still whole",
            ) from error
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)
        self.best.prune()
