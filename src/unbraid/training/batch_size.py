"""How many examples fit into memory at once, and what to do when they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from unbraid.data.items import Example
from unbraid.errors import ConfigError, DeviceError
from unbraid.models.catalog import build_model
from unbraid.separation.device import is_out_of_memory
from unbraid.training.config import TrainingConfig
from unbraid.training.optimisation.objective import Objective
from unbraid.training.optimisation.optimisers import build_optimiser
from unbraid.training.run_examples import Examples

LARGEST = 1024
"""ours: more than this is not tried."""


def smaller_batch(config: TrainingConfig) -> TrainingConfig | None:
    """The same steps with the same examples, in smaller batches; None where a batch is one example already."""
    assert config.batch_size != "auto"
    divisor = next((number for number in range(2, config.batch_size + 1) if config.batch_size % number == 0), None)
    if divisor is None:
        return None
    return replace(config, batch_size=config.batch_size // divisor, accumulate=config.accumulate * divisor)


def search(fits: Callable[[int], bool], largest: int = LARGEST) -> int:
    """The largest number that fits, to an eighth: doubled until it does not, then narrowed down. 0 if not even 1."""
    good, bad = 0, 1
    while bad <= largest and fits(bad):
        good, bad = bad, 2 * bad
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return min(good, largest)


def choose_gpu(accelerator: str) -> torch.device:
    """The GPU that says how much fits; refused where none is used, because a CPU's memory ends without a word."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        raise ConfigError("batch_size=auto asks a GPU how much fits, and none is used here: set a number")
    return torch.device("cuda")


def largest_batch(config: TrainingConfig, data: Path, device: torch.device) -> int:
    """How many examples of this run go through a training step on a device."""
    model = build_model(config.model).to(device).train()
    optimiser = build_optimiser(model, config.optimiser)
    objective = Objective(config, model)
    example = next(iter(Examples(replace(config, batch_size=1, num_workers=0), model.spec, data).train_loader(0, 0, 1)))

    def fits(count: int) -> bool:
        try:
            batch = Example(*(part[:1].expand(count, *part.shape[1:]).to(device, copy=True) for part in example))
            kind = torch.float16 if config.precision == "16-mixed" else torch.bfloat16
            with torch.autocast(device.type, kind, enabled=config.precision != "32-true"):
                loss = objective(model, batch).total
            loss.backward()
            optimiser.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            optimiser.zero_grad()
            torch.cuda.empty_cache()
        return True

    found = search(fits)
    if not found:
        raise DeviceError("not even one example fits into the GPU's memory: choose a smaller model or shorter segments")
    return found
