"""The training task: what happens to one batch. A thin shell around a plain model."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as lightning
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from unbraid.data.corpus import load_corpus
from unbraid.data.loaders import ListedMixtures, MixtureStream, listed_loader, stream_loader
from unbraid.data.mixing import read_list
from unbraid.layers.mamba import SelectiveSystem
from unbraid.layers.state_space import StateSpace
from unbraid.losses.distances import negative_si_sdr, negative_snr
from unbraid.losses.permutation import best_permutation, mean_above, reorder
from unbraid.metrics.ratios import si_sdr_improvement
from unbraid.models.catalog import build_model
from unbraid.training.config import OptimiserConfig, TrainingConfig

VALIDATION_LIST = Path(__file__).parents[1] / "data" / "lists" / "speech-valid.csv"


class SpeakerSeparation(lightning.LightningModule):
    """Speakers apart, by permutation-invariant negative SNR; validated by the mean SI-SDR improvement."""

    def __init__(self, config: TrainingConfig, data: Path) -> None:
        super().__init__()
        self.config, self.data = config, data
        # Lightning leaves each module in the mode in which it finds it.
        self.model = build_model(config.model).train()

    def training_step(self, references: torch.Tensor, batch_index: int) -> torch.Tensor:
        estimates = self.model(references.sum(dim=1)).float()
        losses, _ = best_permutation(negative_snr, estimates, references)
        loss = mean_above(losses, self.config.loss_floor_db)
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, references: torch.Tensor, batch_index: int) -> None:
        mixture = references.sum(dim=1)
        estimates = self.model(mixture).float()
        _, order = best_permutation(negative_si_sdr, estimates, references)
        scores = si_sdr_improvement(reorder(estimates, order), references, mixture.unsqueeze(1).expand_as(references))
        self.log("valid_si_sdri_db", scores.mean().float(), on_epoch=True, batch_size=1)

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        """Goes on with the batch after the last one trained on, also in a resumed run."""
        config = self.config
        corpus = load_corpus(self.data, "train", self.model.spec.sample_rate)
        stream = MixtureStream(corpus, config.mixing, config.seed, config.batch_size, start=self.global_step)
        return stream_loader(stream, config.num_workers)

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        corpus = load_corpus(self.data, "valid", self.model.spec.sample_rate)
        mixtures = read_list(VALIDATION_LIST)[: self.config.validation_mixtures]
        return listed_loader(ListedMixtures(corpus, mixtures))

    def configure_optimizers(self) -> dict[str, object]:
        config = self.config.optimiser
        optimiser = torch.optim.Adam(parameter_groups(self.model, config), lr=config.learning_rate)
        schedule = LambdaLR(optimiser, lambda step: trapezoid(step, self.config.steps, config))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(model: torch.nn.Module, config: OptimiserConfig) -> list[dict[str, object]]:
    """State-space systems apart from the rest: a bounded learning rate and no weight decay."""
    systems = [module for module in model.modules() if isinstance(module, StateSpace | SelectiveSystem)]
    careful = {id(parameter) for system in systems for parameter in system.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in careful]
    groups: list[dict[str, object]] = [{"params": rest, "weight_decay": config.weight_decay}]
    if careful:
        rate = min(config.learning_rate, config.state_space_learning_rate)
        parameters = [parameter for parameter in model.parameters() if id(parameter) in careful]
        groups.append({"params": parameters, "weight_decay": 0.0, "lr": rate})
    return groups


def trapezoid(step: int, steps: int, config: OptimiserConfig) -> float:
    """Share of the full learning rate at this step: up, level, down to zero."""
    rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    fall = (steps - step) / max(config.decay_share * steps, 1)
    return max(0.0, min(rise, fall, 1.0))
