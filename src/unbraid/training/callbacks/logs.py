"""What a run writes down: CSV and TensorBoard always, Weights & Biases if asked; numbers, sounds and pictures."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch.distributed.tensor import DTensor

from unbraid.axes import Float, Tensor
from unbraid.data.items import Example
from unbraid.errors import MissingExtraError
from unbraid.signal.stft import stft
from unbraid.signal.windows import hann
from unbraid.training.config import TrainingConfig
from unbraid.training.task import SeparationTask

SOUND_SECONDS = 10.0
"""ours: of each item that is listened to."""


def build_loggers(config: TrainingConfig, out: Path) -> list[Logger]:
    """Each start logs into a folder of its own, because a logger empties the folder that it finds."""
    started = time.strftime("%Y%m%d-%H%M%S")
    loggers: list[Logger] = [CSVLogger(out, name="logs", version=started)]
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(out, name="logs", version=started))
    if config.log.wandb_project is not None:
        from lightning.pytorch.loggers import WandbLogger

        try:
            loggers.append(WandbLogger(project=config.log.wandb_project, name=config.name, save_dir=out))
        except ModuleNotFoundError as error:
            raise MissingExtraError("wandb", "wandb", "logging to Weights & Biases") from error
    return loggers


class Measures(lightning.Callback):
    """Norm of the gradient before clipping, learning rate, and examples per second."""

    def __init__(self) -> None:
        self._step, self._since = 0, time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._step, self._since = trainer.global_step, time.monotonic()

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(module, SeparationTask)
        if (trainer.global_step + 1) % module.config.log.every:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        now = time.monotonic()
        per_second = (trainer.global_step + 1 - self._step) / max(now - self._since, 1e-9)
        self._step, self._since = trainer.global_step + 1, now
        module.log_dict(
            {
                "gradient_norm": _whole(torch.nn.utils.get_total_norm(gradients)),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "examples_per_second": per_second * module.examples_per_step(trainer.world_size),
            }
        )


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


class Sounds(lightning.Callback):
    """Audio and spectrograms of the first validation items: the references once, the estimates every time."""

    def __init__(self, count: int) -> None:
        self.count, self._known = count, False

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: object,
        batch: Example,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx >= self.count or not trainer.is_global_zero:
            return
        assert isinstance(module, SeparationTask)
        spec = module.model.spec
        samples = round(SOUND_SECONDS * spec.sample_rate)
        mixture = batch.mixture[..., :samples]
        signals = {
            f"estimate/{name}": one for name, one in zip(spec.sources, module.model(mixture[None])[0], strict=True)
        }
        if not self._known:
            references = zip(spec.sources, batch.references[..., :samples], strict=True)
            signals |= {f"reference/{name}": one for name, one in references} | {"mixture": mixture}
            self._known = batch_idx == self.count - 1
        for name, signal in signals.items():
            _write_sound(trainer, f"valid-{batch_idx}/{name}", signal.float().cpu(), spec.sample_rate)


def _write_sound(
    trainer: lightning.Trainer, name: str, signal: Float[Tensor, "channel sample"], sample_rate: int
) -> None:
    mono = signal.mean(dim=0)
    picture = spectrogram_picture(mono)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            board = logger.experiment
            board.add_audio(name, mono.clamp(-1, 1)[None], trainer.global_step, sample_rate)
            board.add_image(f"{name}/spectrogram", picture, trainer.global_step)
        elif hasattr(logger, "log_audio") and hasattr(logger, "log_image"):
            logger.log_audio(name, [mono.numpy()], step=trainer.global_step, sample_rate=[sample_rate])  # type: ignore[attr-defined]
            logger.log_image(f"{name}/spectrogram", [picture[0].numpy()], step=trainer.global_step)  # type: ignore[attr-defined]


def spectrogram_picture(signal: Float[Tensor, " sample"]) -> Float[Tensor, "1 freq frame"]:
    """Levels from -80 dB (0, black) to the loudest (1, white), high frequencies on top."""
    power = stft(signal, 1024, 256, hann(1024)).square().sum(dim=0)
    level = 10 * torch.log10(power.clamp(min=1e-10) / power.max().clamp(min=1e-10))
    return (1 + level.clamp(min=-80) / 80).flip(0)[None]
