"""What a batch costs: the loss of the estimates, or with a multi-loss that of all intermediate estimates."""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor
from unbraid.data.items import Example
from unbraid.losses.multi_rate import MultiRateLoss
from unbraid.losses.weighted import Loss, WeightedLoss
from unbraid.models.contract import SeparationModel
from unbraid.training.config import TrainingConfig


class Objective:
    """The loss of a run; without parameters and state. Losses are taken in float32, whatever the model runs in."""

    def __init__(self, config: TrainingConfig, model: SeparationModel) -> None:
        self.loss = WeightedLoss(config.loss, exchangeable=model.spec.exchangeable)
        self.multi_loss = None
        if config.multi_loss is not None:
            self.multi_loss = MultiRateLoss(config.multi_loss, self.loss, model.spec.sample_rate, refines=model.refines)

    def __call__(self, model: SeparationModel, batch: Example) -> Loss:
        """What training makes small."""
        if self.multi_loss is None:
            return self.of_estimates(model(batch.mixture), batch)
        estimates = model.intermediate_estimates(batch.mixture)
        with torch.autocast(batch.mixture.device.type, enabled=False):
            exact = [estimate.float() for estimate in estimates]
            return self.multi_loss(exact, batch.references, batch.mixture, batch.present)

    def of_estimates(self, estimates: Float[Tensor, "batch source channel sample"], batch: Example) -> Loss:
        """The loss of a model's final estimates."""
        with torch.autocast(batch.mixture.device.type, enabled=False):
            return self.loss(estimates.float(), batch.references, batch.mixture, batch.present)
