"""FSDP: every process keeps a share of weights, averages, gradients and optimiser states (torch's `fully_shard`).

The whole model is one unit, gathered for each forward and backward, so it works for any model. Checkpoints and exported
weights are whole, written by the first process.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


class Sharded(ModelParallelStrategy):
    """All processes of all machines share one copy of everything."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


class GatheredValidation(lightning.Callback):
    """Keeps the weights gathered during a validation, in which processes may have different numbers of pieces.

    Stands first in the list: the weights are shared out again before anybody saves or swaps them.
    """

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        model = module.model
        if isinstance(model, FSDPModule):
            model.set_reshard_after_forward(True)
            model.reshard()


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shares a model's weights out among the processes of the mesh."""
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    # The multi-loss calls this instead of the model itself; the weights have to be gathered for it as well.
    register_fsdp_forward_method(model, "intermediate_estimates")


def gather(model: nn.Module) -> None:
    """Keeps a sharded model whole until it is shared out again; nothing for other models."""
    if isinstance(model, FSDPModule):
        model.set_reshard_after_forward(False)
        model.unshard()


def is_sharded(model: nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor, with the same storage; the tensor itself where it is not shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_state(model: nn.Module) -> dict[str, Any]:
    """All weights on the CPU of the first process, nothing on the others; to be called by all of them."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_whole_state(module: nn.Module, state: dict[str, Any]) -> None:
    """Loads whole weights, which every process has, into a module that may be sharded."""
    if any(is_sharded(part) for part in module.modules()):
        set_model_state_dict(module, state, options=StateDictOptions(full_state_dict=True))
    else:
        module.load_state_dict(state)
