"""The weights with the best validation scores, as files that separate."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as lightning

from unbraid.errors import AudioWriteError, DiskSpaceError
from unbraid.training.config import AveragingConfig
from unbraid.training.merging import average_models, exportable
from unbraid.training.task import SeparationTask
from unbraid.weights.store import inspect_model, save_model

BEST_WEIGHTS = "best.safetensors"
AVERAGE_WEIGHTS = "average.safetensors"
KEPT = "kept"


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
        try:
            save_model(model, path, name=self.name, facts=facts)
        except AudioWriteError as error:
            raise DiskSpaceError(error.reason, remedy="free some space and continue with `resume=True`") from error

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
