"""An exponential average of the weights, kept beside those that learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as lightning
import torch

from unbraid.errors import ConfigError
from unbraid.training.sharding import load_whole_state, local


class ExponentialAverage(lightning.Callback):
    """average <- decay * average + (1 - decay) * weights after every step; it is what is validated and exported.

    A checkpoint holds the average as `state_dict` and the learning weights as `current_model_state`.
    """

    def __init__(self, decay: float, start_step: int = 0) -> None:
        self.decay, self.start_step = decay, start_step
        self.latest_step = 0
        self._learning: list[torch.Tensor] = []
        self._average: list[torch.Tensor] | None = None

    @property
    def state_key(self) -> str:
        return "EMAWeightAveraging"  # the name in checkpoints of version 0.1

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """After the strategy has wrapped the model; a loaded average is on the CPU till now."""
        self._learning = _tensors(module)
        average = self._average or [tensor.clone() for tensor in self._learning]
        self._average = [mean.to(tensor.device) for mean, tensor in zip(average, self._learning, strict=True)]

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object) -> None:
        if trainer.global_step <= self.latest_step:
            return  # gradients are being accumulated
        self.latest_step = trainer.global_step
        assert self._average is not None
        if trainer.global_step <= self.start_step:
            torch._foreach_copy_(self._average, self._learning)
            return
        moving = [i for i, tensor in enumerate(self._learning) if tensor.is_floating_point()]
        torch._foreach_lerp_([self._average[i] for i in moving], [self._learning[i] for i in moving], 1 - self.decay)
        for mean, tensor in zip(self._average, self._learning, strict=True):
            if not tensor.is_floating_point():
                mean.copy_(tensor)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._swap()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._swap()

    @torch.no_grad()
    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert self._average is not None
        torch._foreach_copy_(self._learning, self._average)

    def state_dict(self) -> dict[str, int]:
        return {"latest_update_step": self.latest_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.latest_step = state_dict["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict
    ) -> None:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        with self._swapping():
            averaged = trainer.strategy.lightning_module_state_dict()
            checkpoint["state_dict"] = {name: tensor.clone() for name, tensor in averaged.items()}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict
    ) -> None:
        """The module holds the average by now: it is taken from there, and the learning weights take its place."""
        if "current_model_state" not in checkpoint:
            raise ConfigError(
                "this run was begun without an average of its weights", remedy="set averaging.ema_decay=none"
            )
        self._average = [tensor.clone() for tensor in _tensors(module)]
        load_whole_state(module, checkpoint["current_model_state"])

    @contextmanager
    def _swapping(self) -> Iterator[None]:
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        if self._average is None:
            return
        held = [tensor.clone() for tensor in self._learning]
        torch._foreach_copy_(self._learning, self._average)
        torch._foreach_copy_(self._average, held)


def _tensors(module: lightning.LightningModule) -> list[torch.Tensor]:
    """Parameters and those buffers that are kept with them, each once; of sharded ones this process's share."""
    return list({id(tensor): local(tensor.detach()) for tensor in module.state_dict(keep_vars=True).values()}.values())
