"""Runs a training config to its end, or on from where it stopped."""

from __future__ import annotations

import errno
import json
import logging
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from unbraid.errors import ConfigError, DataError, DeviceError, DiskSpaceError, UnbraidError
from unbraid.files.json_text import JsonError, member
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending, writing_to
from unbraid.models.catalog import architecture_name
from unbraid.models.compiling import compile_parts
from unbraid.separation.device import is_out_of_memory
from unbraid.training.adapt import network_of_run
from unbraid.training.batch_size import choose_gpu, largest_batch, smaller_batch
from unbraid.training.callbacks.averaging import ExponentialAverage
from unbraid.training.callbacks.best import BEST_WEIGHTS, BestWeights
from unbraid.training.callbacks.checkpoints import LAST_CHECKPOINT, AtomicCheckpoint, Interrupted
from unbraid.training.callbacks.display import LiveDisplay
from unbraid.training.callbacks.logs import Measures, Sounds, build_loggers
from unbraid.training.callbacks.patience import EarlyStop, Plateau
from unbraid.training.config import HalveOnPlateau, SpeakerMixing, TrainingConfig
from unbraid.training.position import start_at
from unbraid.training.resuming import SETTINGS, check_checkpoint, damaged, read_settings
from unbraid.training.sharding import GatheredValidation, Sharded
from unbraid.training.task import SeparationTask

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What a run runs on."""

    accelerator: str = "auto"
    """auto, cpu, gpu or mps."""

    devices: int | str = 1
    """Processes per machine, one per GPU; "auto" takes all GPUs."""

    nodes: int = 1
    """Machines."""

    strategy: str = "auto"
    """auto (DDP where there are several processes), ddp, fsdp, or another name that Lightning knows."""


def fit(
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    machines: Machines | None = None,
    console: Console | None = None,
) -> Path:
    """Trains and returns the path of the best weights.

    `out` gets `last.ckpt` (to resume from), `best.safetensors` (to separate with), and the logs. An `out` that already
    holds a run is refused unless `resume` is set, and `resume` without one is refused as well. `init` names a trained
    model whose weights are taken over where they fit. Where memory runs out, the batch is halved, two of them make a
    step instead of one, and the run resumes from its last checkpoint.
    """
    machines, console = machines or Machines(), console or Console(stderr=True)
    checkpoint = out / LAST_CHECKPOINT
    # Other processes of the same run start later, when the first one may have written its checkpoint already.
    if is_first_process():
        if checkpoint.exists() and not resume:
            raise ConfigError(
                "already holds a run",
                subject=f"'{printable(out)}'",
                remedy="add `resume=True` to continue it, or choose another `out`",
            )
        if resume and not checkpoint.exists():
            raise ConfigError(
                f"nothing to resume in {out}, there is no {LAST_CHECKPOINT}", remedy="start without `resume`"
            )
    if init is None and not resume and config.init.start_step:
        raise ConfigError(
            f"init.start_step={config.init.start_step} is for a run from trained weights",
            remedy="name a model to start from in `init`",
        )
    if not data.exists():
        raise DataError(
            "does not exist",
            subject=f"'{printable(data)}'",
            remedy="let `data` name the folder of a data set, or a list of one",
        )
    has_silent_references = isinstance(config.mixing, SpeakerMixing) and config.mixing.turns.alone_share > 0
    if has_silent_references and all(term.name in ("snr", "si-sdr") for term in config.loss.terms):
        raise ConfigError(
            f"with mixing.turns.alone_share some references are silent, which the loss '{config.loss.terms[0].name}' "
            "cannot judge: take 'thresholded-snr'"
        )
    if machines.strategy == "fsdp" and config.optimiser.name == "muon":
        raise ConfigError(
            "Muon needs whole matrices, and fsdp shares them out",
            remedy="use `strategy=ddp` or `optimiser.name=adam`",
        )
    if machines.strategy == "fsdp" and config.lora is not None:
        raise ConfigError("adapters are small and are not shared out", remedy="use `strategy=ddp` with lora")
    with writing_to(f"'{printable(out)}'"):
        out.mkdir(parents=True, exist_ok=True)
    _quieten()
    network = network_of_run(config, init, read_settings(out) if resume else None)
    if network != config.model and is_first_process():
        console.print(f"the network is that of {init or out}, not that of the recipe", highlight=False)
    config = replace(config, model=network)
    config = _with_batch_size(config, data, out, resume, machines, console)
    while True:
        try:
            return _run(config, data, out, checkpoint if resume else None, init, machines, console)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise DiskSpaceError(
                    f"cannot write in '{printable(out)}' ({error.strerror})",
                    remedy="free some space and continue with `resume=True`; the checkpoint before is still whole",
                ) from error
            if not is_out_of_memory(error):
                raise
            smaller = smaller_batch(config)
            if smaller is None or machines.nodes > 1 or machines.devices not in (1, "1"):
                raise DeviceError(
                    f"memory runs out with {config.batch_size} examples at a time: set a smaller batch_size and more "
                    "accumulate, gradient_checkpointing=true, shorter segments or a smaller model"
                ) from error
        # Outside of the handler, or its traceback would hold on to the memory of the failed step.
        config = smaller
        torch.cuda.empty_cache()
        resume = checkpoint.exists()
        console.print(f"memory ran out: going on with batch_size={config.batch_size}, accumulate={config.accumulate}")


def is_first_process() -> bool:
    """Whether this process speaks and writes for all of a run."""
    return rank_zero_only.rank == 0


def _run(
    config: TrainingConfig,
    data: Path,
    out: Path,
    checkpoint: Path | None,
    init: str | None,
    machines: Machines,
    console: Console,
) -> Path:
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    task = SeparationTask(config, data, init if checkpoint is None else None)
    begin = task.init_step or 0
    if begin >= config.steps:
        raise ConfigError(
            f"the run begins at step {begin} and ends at steps={config.steps}", remedy="set steps to more than that"
        )
    if is_first_process():
        if task.kept is not None:
            console.print(f"{task.kept}; starts at step {begin:,}", highlight=False)
        console.print(f"validation: {task.examples.describe_validation()}", highlight=False)
    if config.compile:
        compile_parts(task.model)
    best = BestWeights(out, config.name, config.averaging)
    checkpoints = AtomicCheckpoint(out, config.save_every, best)
    trainer = lightning.Trainer(
        accelerator=machines.accelerator,
        devices=machines.devices,
        num_nodes=machines.nodes,
        strategy=Sharded() if machines.strategy == "fsdp" else machines.strategy,
        max_steps=config.steps,
        max_epochs=-1,
        # One epoch is the stretch between two validations; the loader is made anew for each, at the current step.
        limit_train_batches=config.validation.every * config.accumulate,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.optimiser.gradient_clip,
        precision=config.precision,
        deterministic=config.deterministic,
        callbacks=_callbacks(config, best, checkpoints, console),
        logger=build_loggers(config, out),
        log_every_n_steps=config.log.every,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    if trainer.is_global_zero:
        if checkpoint is not None and (changed := _changes(config, out)):
            console.print(f"settings that differ from the last start: {changed}", highlight=False)
        _write_settings(config, out)
    start_at(trainer, begin, config)
    if checkpoint is not None:
        check_checkpoint(checkpoint, task)
    try:
        with checkpoints.listening():
            # Our checkpoints hold tensors and plain numbers only, so nothing needs to be unpickled.
            trainer.fit(task, ckpt_path=checkpoint, weights_only=True)
    except (UnbraidError, OSError):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, UnpicklingError) as error:
        if checkpoint is None or checkpoints.has_started or is_out_of_memory(error):
            raise
        # What Lightning makes of parts of another form, and PyTorch's advice to unpickle them, help nobody.
        raise damaged(checkpoint) from error
    except Interrupted as interrupted:
        raise KeyboardInterrupt(
            f"stopped at step {trainer.global_step}; `resume` continues from there"
        ) from interrupted
    if trainer.global_step % config.validation.every and not trainer.should_stop:
        # The last weights have not been scored yet, and they are often the best.
        trainer.validate(task, verbose=False)
    if not trainer.is_global_zero:
        return out / BEST_WEIGHTS
    if average := best.write_average():
        return average
    if not (out / BEST_WEIGHTS).is_file():
        raise DataError(
            f"no validation gave a score, so {out} holds no weights but those in {LAST_CHECKPOINT}",
            remedy="check the validation data, or judge by the loss with validation.metric=loss",
        )
    return out / BEST_WEIGHTS


def _callbacks(
    config: TrainingConfig, best: BestWeights, checkpoints: AtomicCheckpoint, console: Console
) -> list[lightning.Callback]:
    """In the order in which they have to act: judges first, then the average, then what saves."""
    callbacks: list[lightning.Callback] = [GatheredValidation(), best]
    if isinstance(config.schedule, HalveOnPlateau):
        callbacks.append(Plateau(config.schedule))
    if config.early_stop is not None:
        callbacks.append(EarlyStop(config.early_stop))
    callbacks += [Measures(), Sounds(config.log.sounds)]
    if config.averaging.ema_decay is not None:
        callbacks.append(ExponentialAverage(config.averaging.ema_decay, config.averaging.ema_start_step))
    return [*callbacks, LiveDisplay(console), checkpoints]


def _with_batch_size(
    config: TrainingConfig, data: Path, out: Path, resume: bool, machines: Machines, console: Console
) -> TrainingConfig:
    """The config with a number of examples: that of the run before, or what fits into memory."""
    if config.batch_size != "auto":
        return config
    if resume and (stored := read_settings(out)):
        try:
            sizes = {key: member(stored, key, int) for key in ("batch_size", "accumulate")}
        except JsonError as error:
            raise DataError(f"'{printable(out / SETTINGS)}' is damaged ({error})", remedy="remove it") from error
        return replace(config, **sizes)
    found = largest_batch(config, data, choose_gpu(machines.accelerator))
    console.print(f"batch_size={found} is the largest that fits")
    return replace(config, batch_size=found)


def _write_settings(config: TrainingConfig, out: Path) -> None:
    versions = {"torch": torch.__version__, "architecture": architecture_name(config.model)}
    text = json.dumps(asdict(config) | versions, indent=2, default=str)
    write_pending(PendingFile(out / SETTINGS), f"{text}\n".encode())


def _changes(config: TrainingConfig, out: Path) -> str:
    """What is set otherwise than when the run was last started, as `a.b=1 (was 2)`."""
    settings = read_settings(out)
    if settings is None:
        return ""
    then, now = _flat(settings), _flat(json.loads(json.dumps(asdict(config), default=str)))
    # A setting may be one that an older version did not have, or that belongs to another kind of schedule.
    before = {key: then.get(key, "not set") for key in now}
    return ", ".join(f"{key}={now[key]} (was {before[key]})" for key in now if before[key] != now[key])


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _quieten() -> None:
    """Lightning's own remarks are for its developers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    torch.set_float32_matmul_precision("high")
