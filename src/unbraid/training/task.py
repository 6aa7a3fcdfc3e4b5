"""The training task: what happens to one batch. A thin shell around a plain model, the same for every model."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from unbraid.data.items import Example
from unbraid.errors import ConfigError
from unbraid.evaluation.scoring import score_estimates
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel
from unbraid.separation.separator import Separator
from unbraid.training.adapt import KeptWeights, add_adapters, freeze, init_step, start_from
from unbraid.training.config import TrainingConfig
from unbraid.training.optimisation.objective import Objective
from unbraid.training.optimisation.optimisers import adopt_settings, build_optimiser, parameter_groups
from unbraid.training.optimisation.schedules import warmup
from unbraid.training.position import count_batches
from unbraid.training.run_examples import Examples
from unbraid.training.sharding import gather, is_sharded, shard

SCORES = {"si_sdri_db": "SI-SDRi", "si_sdr_db": "SI-SDR", "snr_db": "SNR"}
_CAP_DB = 100.0


class SeparationTask(lightning.LightningModule):
    """A model of the catalog learns to separate: exchangeable sources by permutation, others each in its place."""

    def __init__(self, config: TrainingConfig, data: Path, init: str | None = None) -> None:
        """`init` names a trained model whose weights are taken over where they fit."""
        super().__init__()
        self.config = config
        # Lightning leaves each module in the mode in which it finds it.
        self.model: SeparationModel = build_model(config.model).train()
        self.kept: KeptWeights | None = start_from(self.model, init) if init else None
        self.init_step: int | None = init_step(config.init, init) if init else None
        """The step at which the run began from trained weights; None where it began from random ones."""
        if config.lora is not None:
            add_adapters(self.model, config.lora)
        freeze(self.model, config.freeze)
        if config.gradient_checkpointing:
            self.model.set_gradient_checkpointing(True)
        spec = self.model.spec
        self.examples = Examples(config, spec, data)
        self.objective = Objective(config, self.model)
        wanted = config.validation.metric
        self.metric = ("si_sdri_db" if spec.exchangeable else "snr_db") if wanted == "auto" else wanted
        """What the best weights are best in."""
        self.sign = -1.0 if self.metric == "loss" else 1.0
        self.plateau_share = 1.0
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._scores: dict[str, float] | None = None

    def configure_model(self) -> None:
        """Where processes share one copy of the model, its weights are shared out here."""
        if self._device_mesh is not None and not is_sharded(self.model):
            shard(self.model, self._device_mesh["data_parallel"])

    # Training

    def on_train_batch_start(self, batch: Example, batch_index: int) -> None:
        """Whatever is random in this step is a function of seed, step and process, as the examples are."""
        position = self.global_step * self.config.accumulate + batch_index % self.config.accumulate
        seed = np.random.SeedSequence([self.config.seed, position, self.global_rank]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed))

    def training_step(self, batch: Example, batch_index: int) -> torch.Tensor | None:
        loss, parts, teaches = self.objective(self.model, batch)
        # Where several processes share a step, the others may have something to teach, and zero is added to it.
        if teaches is not None and self.trainer.world_size == 1 and not teaches:
            return None
        self.log("loss", loss.detach())
        if len(parts) > 1:
            self.log_dict({f"loss/{name}": value for name, value in parts.items()})
        return loss

    def train_dataloader(self) -> DataLoader[Example]:
        """Goes on with the batch after the last one trained on, also in a resumed run."""
        start = self.global_step * self.config.accumulate
        return self.examples.train_loader(start, self.global_rank, self.trainer.world_size, self.device)

    def examples_per_step(self, world_size: int) -> int:
        assert self.config.batch_size != "auto"
        return self.config.batch_size * self.config.accumulate * world_size

    def configure_optimizers(self) -> dict[str, object]:
        optimiser = build_optimiser(self.model, self.config.optimiser)
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
        # A plain function, because of anything else LambdaLR would put a pickle into the checkpoint.
        rate = LambdaLR(optimiser, lambda step: self._rate_share(step), last_epoch=(self.init_step or 0) - 1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def _rate_share(self, step: int) -> float:
        share = self.config.schedule.share(step, self.config.steps) * self.plateau_share
        if self.init_step is not None:
            # The optimiser has no moments of the gradient yet.
            share *= warmup(step - self.init_step, self.config.init.warmup_steps)
        return share

    def on_train_start(self) -> None:
        self.update_rates()

    def update_rates(self) -> None:
        """Sets the learning rates of the next step, where more has changed than the step."""
        optimiser = self.optimizers()
        assert not isinstance(optimiser, list)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * self._rate_share(self.global_step)

    # Validation

    def val_dataloader(self) -> DataLoader[Example]:
        return self.examples.valid_loader(self.global_rank, self.trainer.world_size)

    def on_validation_epoch_start(self) -> None:
        self._sums.clear()
        self._scores = None
        gather(self.model)

    def validation_step(self, item: Example, batch_index: int) -> None:
        """One whole item, in pieces if it is long, separated as a recording is."""
        piece_samples = round(self.config.validation.piece_seconds * self.model.spec.sample_rate)
        values: dict[str, list[float]] = defaultdict(list)
        for start in range(0, max(item.mixture.shape[-1], 1), piece_samples):
            piece = Example(
                item.mixture[..., start : start + piece_samples],
                item.references[..., start : start + piece_samples],
                item.present,
            )
            if start and piece.mixture.shape[-1] < piece_samples / 4:
                continue  # too little to say much
            self._score(piece, values)
        # Every item counts once, however long.
        for name, found in values.items():
            self._sums[name][0] += sum(found) / len(found)
            self._sums[name][1] += 1

    def _score(self, piece: Example, values: dict[str, list[float]]) -> None:
        spec = self.model.spec
        separator = Separator(self.model, device=str(self.device), config=self.config.validation.separation)
        stems = separator.separate(piece.mixture, spec.sample_rate).values()
        estimates = torch.stack([torch.from_numpy(stem.samples) for stem in stems])[None].to(self.device)
        batch = Example(*(part.unsqueeze(0) for part in piece))
        values["loss"].append(float(self.objective.of_estimates(estimates, batch).total))
        if spec.exchangeable and not piece.present.all():
            return
        score = score_estimates(
            estimates[0], piece.references, piece.mixture, exchangeable=spec.exchangeable, sources=spec.sources
        )
        overall: dict[str, list[float]] = defaultdict(list)
        for source, reference, known in zip(score.targets, piece.references, piece.present, strict=True):
            if not known or not reference.any():
                continue  # nothing can be said in dB of a silent source; the loss knows it
            for name, measure in SCORES.items():
                value = source.metrics[measure]
                if value == value:
                    capped = min(max(value, -_CAP_DB), _CAP_DB)
                    overall[name].append(capped)
                    if not spec.exchangeable:
                        values[f"{name}/{source.source}"].append(capped)
        for name, found in overall.items():
            values[name].append(sum(found) / len(found))

    def scores(self) -> dict[str, float]:
        """Mean over all items of this validation, on all processes: `loss`, the ratios, and the ratios per source."""
        if self._scores is None:
            names = ["loss", *SCORES]
            if not self.model.spec.exchangeable:
                names += [f"{name}/{source}" for name in SCORES for source in self.model.spec.sources]
            kind = torch.float32 if self.device.type == "mps" else torch.float64
            sums = torch.tensor([self._sums[name] for name in names], dtype=kind, device=self.device)
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
            assert isinstance(sums, torch.Tensor)
            self._scores = {
                name: total / count for name, (total, count) in zip(names, sums.tolist(), strict=True) if count
            }
        return self._scores

    def goodness(self) -> float:
        """The score that the run is judged by, higher is better; nan where nothing could be scored."""
        return self.sign * self.scores().get(self.metric, math.nan)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"valid_{name}": value for name, value in self.scores().items()}, rank_zero_only=True)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["unbraid"] = self._cuts() | {"init_step": self.init_step}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Puts right what is set otherwise by now: the optimiser, and how batches and validations are counted."""
        groups = parameter_groups(self.model, self.config.optimiser)
        for state, rates in zip(checkpoint["optimizer_states"], checkpoint["lr_schedulers"], strict=True):
            if [len(one["params"]) for one in state["param_groups"]] != [len(one["params"]) for one in groups]:
                raise ConfigError(
                    "this run was begun with another optimiser, or other parts of the model learning",
                    remedy="continue with the settings in its config.json, or begin anew from its best weights with "
                    "`init`",
                )
            adopt_settings(state["param_groups"], rates, groups, self.config.optimiser)
        then = checkpoint.get("unbraid")  # which the first checkpoints of version 0.1 lack
        if then is None:
            return
        self.init_step = then.get("init_step")
        if self._cuts().items() <= then.items():
            return
        count_batches(checkpoint["loops"]["fit_loop"], checkpoint["global_step"], self.config)

    def _cuts(self) -> dict[str, int | None]:
        """How batches make steps, and steps the stretches between validations."""
        return {"accumulate": self.config.accumulate, "validate_every": self.config.validation.every}
