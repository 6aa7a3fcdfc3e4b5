"""What happens when validation no longer improves: a lower learning rate, or the end of the run."""

from __future__ import annotations

import lightning.pytorch as lightning

from unbraid.training.config import HalveOnPlateau
from unbraid.training.task import SeparationTask


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
        if trainer.global_step <= self.config.hold_steps:
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
