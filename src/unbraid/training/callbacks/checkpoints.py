"""What runs beside training: checkpoints that are never half-written, the best weights, and what depends on scores."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as lightning

from unbraid.errors import DiskSpaceError, DivergedError
from unbraid.training.config import AveragingConfig, HalveOnPlateau
from unbraid.training.export import average_models, exportable
from unbraid.training.task import SeparationTask
from unbraid.weights.store import inspect_model, save_model

LAST_CHECKPOINT = "last.ckpt"
BEST_WEIGHTS = "best.safetensors"
AVERAGE_WEIGHTS = "average.safetensors"
KEPT = "kept"

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
        self._step = trainer.global_step
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
        except OSError as error:
            raise DiskSpaceError(
                f"cannot write the checkpoint {self.path} ({error.strerror or error})",
                remedy="free some space and continue with `resume=True`; the checkpoint before is still whole",
            ) from error
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)
        self.best.prune()


class BestWeights(lightning.Callback):
    """Keeps the weights with the best validation score as a safetensors file that `unbraid separate -n` takes.

    With `keep_best` over 1 the best few are kept in a folder and their average is written beside. Stands before the
    averaging callback in the list, so that it sees the averaged weights during validation.
    """

    def __init__(self, folder: Path, name: str, averaging: AveragingConfig) -> None:
        self.folder, self.name, self.num_kept = folder, name, averaging.keep_best
        self.path, self.best = folder / BEST_WEIGHTS, float("-inf")
        self.kept: list[tuple[float, int]] = []
        """Goodness and step of the best few, best first."""

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SeparationTask)
        goodness = module.goodness()  # on every process: they add up their scores here
        if trainer.sanity_checking or goodness != goodness:
            return
        step = trainer.global_step
        if goodness > self.best:
            self.best = goodness
            self._save(trainer, module, self.path)
        if self.num_kept > 1 and all(step != other for _, other in self.kept):
            ranked = sorted([*self.kept, (goodness, step)], key=lambda entry: (-entry[0], entry[1]))[: self.num_kept]
            if (goodness, step) in ranked:
                self._save(trainer, module, self._kept_path(step))
            self.kept = ranked

    def _save(self, trainer: lightning.Trainer, module: SeparationTask, path: Path) -> None:
        model = exportable(module.model)
        if not trainer.is_global_zero:
            return
        assert model is not None
        scores = {f"valid_{name}": round(value, 3) for name, value in module.scores().items() if "/" not in name}
        facts = {"recipe": module.config.name, "steps": trainer.global_step, **scores}
        path.parent.mkdir(exist_ok=True)
        try:
            save_model(model, path, name=self.name, facts=facts)
        except OSError as error:
            raise DiskSpaceError(
                f"cannot write {path} ({error.strerror or error})",
                remedy="free some space and continue with `resume=True`",
            ) from error

    def write_average(self) -> Path | None:
        """The average of the kept weights, for the end of a run; None where one alone is kept."""
        steps = [step for _, step in self._kept_files()]
        if len(steps) < 2:
            return None
        facts: dict[str, object] = {"steps": max(steps), "average_of_steps": sorted(steps)}
        paths = [self._kept_path(step) for step in steps]
        return average_models(paths, self.folder / AVERAGE_WEIGHTS, name=self.name, facts=facts)

    def _kept_files(self) -> list[tuple[float, int]]:
        """Those of the best few whose files are there."""
        return [(goodness, step) for goodness, step in self.kept if self._kept_path(step).is_file()]

    def prune(self) -> None:
        """Removes kept weights that are no longer among the best, once a checkpoint says so, in case of a crash."""
        wanted = {self._kept_path(step) for _, step in self.kept}
        for path in (self.folder / KEPT).glob("*.safetensors"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def _kept_path(self, step: int) -> Path:
        return self.folder / KEPT / f"step-{step:08d}.safetensors"

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """What is best is what the files hold: perhaps more than the checkpoint knows, or less if some are gone."""
        assert isinstance(module, SeparationTask)
        if self.best > float("-inf"):
            self.best = trainer.strategy.broadcast(self._best_of_file(module))
        self.kept = trainer.strategy.broadcast(self._kept_files())

    def _best_of_file(self, module: SeparationTask) -> float:
        if not self.path.is_file():
            return float("-inf")
        found = inspect_model(self.path).facts.get(f"valid_{module.metric}")
        if not isinstance(found, int | float):
            return self.best
        # The file has three decimals; the same validation run again must not lose against its own rounding.
        return max(self.best, module.sign * float(found) - 5e-4)

    def state_dict(self) -> dict[str, object]:
        return {"best": self.best, "kept": [list(entry) for entry in self.kept]}

    def load_state_dict(self, state_dict: dict) -> None:
        self.best = state_dict["best"]
        self.kept = [(float(goodness), int(step)) for goodness, step in state_dict.get("kept", [])]


class _Patience(lightning.Callback):
    """Counts validations in a row that were no better than the best one before."""

    def __init__(self) -> None:
        self.best, self.waited = float("-inf"), 0

    def judge(self, goodness: float) -> bool:
        """True where this validation is the best so far."""
        if goodness > self.best:
            self.best, self.waited = goodness, 0
            return True
        self.waited += 1
        return False

    def state_dict(self) -> dict[str, object]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]


class Plateau(_Patience):
    """Multiplies the learning rate by a factor when validation has not improved for more than `patience` times."""

    def __init__(self, config: HalveOnPlateau) -> None:
        super().__init__()
        self.config, self.share = config, 1.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SeparationTask)
        module.plateau_share = self.share

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SeparationTask)
        goodness = module.goodness()
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if trainer.global_step < self.config.hold_steps:
            self.judge(goodness)
            self.waited = 0
        elif not self.judge(goodness) and self.waited > self.config.patience:
            self.share, self.waited = self.share * self.config.factor, 0
            module.plateau_share = self.share
            module.update_rates()

    def state_dict(self) -> dict[str, object]:
        return {**super().state_dict(), "share": self.share}

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        self.share = state_dict["share"]


class EarlyStop(_Patience):
    """Ends the run when validation has not improved for `patience` times."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, SeparationTask)
        goodness = module.goodness()
        if trainer.state.fn == "fit" and not self.judge(goodness) and self.waited >= self.patience:
            trainer.should_stop = True
