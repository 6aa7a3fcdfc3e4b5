"""A run that is stopped or killed at any moment resumes bit-exactly, and never loses what it has."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from tests.conftest import PATIENCE_SECONDS
from tests.training.tiny import CONFIG, assert_same, assert_same_outcome, checkpoint, logged
from unbraid.errors import ConfigError, DataError, DiskSpaceError, DivergedError
from unbraid.training import fit as fit_module
from unbraid.training import task
from unbraid.training.callbacks import best, checkpoints
from unbraid.training.config import (
    AveragingConfig,
    HalveOnPlateau,
    LoraConfig,
    OptimiserConfig,
    ValidationConfig,
)
from unbraid.training.fit import Machines, fit
from unbraid.weights.store import inspect_model, load_model

EVERYTHING = replace(
    CONFIG,
    schedule=HalveOnPlateau(patience=0, warmup_steps=3),
    averaging=AveragingConfig(ema_decay=0.9, keep_best=2),
    accumulate=2,
    batch_size=1,
    lora=LoraConfig(rank=2, dropout=0.3),  # dropout draws random numbers
    early_stop=50,
)
MUON = replace(CONFIG, optimiser=OptimiserConfig(name="muon"))


@pytest.fixture(scope="module")
def whole(corpus_root, tmp_path_factory):
    """The folder of an undisturbed run; each is made once."""
    made = {}

    def folder(config):
        if repr(config) not in made:
            out = tmp_path_factory.mktemp("whole")
            fit(config, corpus_root, out)
            made[repr(config)] = out
        return made[repr(config)]

    return folder


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING, MUON], ids=["plain", "everything", "muon"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(config, whole, corpus_root, tmp_path, monkeypatch):
    """Ctrl-C during step 7, which lies between two validations and between two checkpoints."""
    step = task.SeparationTask.training_step

    def interrupting(self, batch, batch_index):
        if self.global_step == 6 and batch_index % config.accumulate == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(task.SeparationTask, "training_step", interrupting)
        with pytest.raises(KeyboardInterrupt, match="step 7"):
            fit(config, corpus_root, tmp_path / "parts")
    assert checkpoint(tmp_path / "parts")["global_step"] == 7
    fit(config, corpus_root, tmp_path / "parts", resume=True)
    assert_same_outcome(whole(config), tmp_path / "parts")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("moment", ["validation", "weights written", "checkpoint written", "backward"])
@pytest.mark.parametrize("save_every", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_killed_at_an_awkward_moment_resumes_bit_exactly(
    moment, save_every, whole, corpus_root, tmp_path, monkeypatch
):
    """All around step 10, where validation, best weights, halving and checkpoint fall together."""
    config = replace(EVERYTHING, save_every=save_every, lora=None)
    undisturbed = whole(config)

    def dying(function, where=lambda self, *_: self.global_step == 10):
        def wrapped(self, *args, **kwargs):
            result = function(self, *args, **kwargs)
            if where(self, *args):
                raise Killed
            return result

        return wrapped

    with monkeypatch.context() as patch:
        if moment == "validation":
            patch.setattr(task.SeparationTask, "validation_step", dying(task.SeparationTask.validation_step))
        elif moment == "backward":
            patch.setattr(task.SeparationTask, "training_step", dying(task.SeparationTask.training_step))
        elif moment == "weights written":
            at_step = lambda self, trainer, *_: trainer.global_step == 10  # noqa: E731
            patch.setattr(best.BestWeights, "_save", dying(best.BestWeights._save, at_step))
        else:
            at_step = lambda self, trainer, *_: trainer.global_step == 10  # noqa: E731
            patch.setattr(checkpoints.AtomicCheckpoint, "save", dying(checkpoints.AtomicCheckpoint.save, at_step))
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            fit(config, corpus_root, tmp_path / "parts")
        assert isinstance(caught.value, Killed)
    fit(config, corpus_root, tmp_path / "parts", resume=True)
    assert_same_outcome(undisturbed, tmp_path / "parts")


def test_a_killed_run_leaves_a_whole_checkpoint(corpus_root, tmp_path):
    """SIGKILL in the middle: what is there is either nothing or a checkpoint that resumes."""
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from tests.training.tiny import CONFIG\n"
        "from unbraid.training.fit import fit\n"
        "fit(replace(CONFIG, steps=10_000, save_every=1), Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(corpus_root), str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (out / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = checkpoint(out)["global_step"]
    assert step >= 1
    fit(replace(CONFIG, steps=step + 2), corpus_root, out, resume=True)
    assert checkpoint(out)["global_step"] == step + 2


def test_a_full_disk_keeps_the_checkpoint_before(whole, corpus_root, tmp_path, monkeypatch):
    saved = lightning.Trainer.save_checkpoint

    def full(self, path, *args, **kwargs):
        saved(self, path, *args, **kwargs)
        if self.global_step > 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lightning.Trainer, "save_checkpoint", full)
        with pytest.raises(DiskSpaceError, match="`resume=True`"):
            fit(CONFIG, corpus_root, tmp_path / "run")
    assert checkpoint(tmp_path / "run")["global_step"] == 4
    assert not list((tmp_path / "run").glob(".*partial*"))
    fit(CONFIG, corpus_root, tmp_path / "run", resume=True)
    assert_same_outcome(whole(CONFIG), tmp_path / "run")


def test_a_disk_too_full_for_the_weights_is_a_sentence(corpus_root, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(best, "save_model", full)
    with pytest.raises(DiskSpaceError, match="free some space"):
        fit(replace(CONFIG, save_every=2), corpus_root, tmp_path / "run")
    assert checkpoint(tmp_path / "run")["global_step"] == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2, "batch_size": 1},
        {"validation": ValidationConfig(every=4, items=3)},
        {"validation": ValidationConfig(every=7, items=3)},
    ],
    ids=["accumulate", "earlier", "later"],
)
def test_a_run_goes_on_with_other_batches_or_validations(changes, corpus_root, tmp_path, monkeypatch):
    """The step it is at, and with it the next example, stays right; so does when it validates."""
    fit(replace(CONFIG, steps=6, save_every=6), corpus_root, tmp_path / "run")
    validated, seen = [], []
    step, start = task.SeparationTask.training_step, task.SeparationTask.on_validation_epoch_start
    monkeypatch.setattr(
        task.SeparationTask,
        "training_step",
        lambda self, batch, index: (seen.append(batch.mixture), step(self, batch, index))[1],
    )
    monkeypatch.setattr(
        task.SeparationTask,
        "on_validation_epoch_start",
        lambda self: (validated.append(self.global_step), start(self))[1],
    )
    config = replace(CONFIG, steps=14, **changes)
    fit(config, corpus_root, tmp_path / "run", resume=True)
    assert checkpoint(tmp_path / "run")["global_step"] == 14
    every = config.validation.every
    assert validated == sorted({*range(6 // every * every + every, 15, every), 14})
    first = next(
        iter(
            task.Examples(config, load_model(tmp_path / "run/best.safetensors").spec, corpus_root).train_loader(
                6 * config.accumulate, 0, 1
            )
        )
    )
    assert (seen[0] == first.mixture).all()
    assert len(seen) == 8 * config.accumulate


def test_a_run_goes_on_with_another_rate(corpus_root, tmp_path, capsys):
    fit(replace(CONFIG, steps=6, save_every=6), corpus_root, tmp_path / "run")
    slower = replace(CONFIG.optimiser, learning_rate=3e-4, weight_decay=0.1)
    fit(replace(CONFIG, steps=8, optimiser=slower), corpus_root, tmp_path / "run", resume=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "optimiser.learning_rate=0.0003 (was 0.003), optimiser.weight_decay=0.1 (was 0.0)" in said
    rest, systems = checkpoint(tmp_path / "run")["optimizer_states"][0]["param_groups"]
    assert logged(tmp_path / "run", "learning_rate")[-1] == pytest.approx(3e-4)
    assert (rest["initial_lr"], rest["weight_decay"]) == (3e-4, 0.1)
    assert (systems["initial_lr"], systems["weight_decay"]) == (3e-4, 0.0)


def test_what_is_set_otherwise_is_said_also_where_it_was_not_a_setting_before(tmp_path):
    assert fit_module._changes(CONFIG, tmp_path) == ""
    settings = json.loads(json.dumps(asdict(CONFIG), default=str))
    del settings["mixing"]["turns"]["alone_share"]
    settings["seed"] = 7
    (tmp_path / fit_module.SETTINGS).write_text(json.dumps(settings))
    changes = fit_module._changes(CONFIG, tmp_path)
    assert changes == f"mixing.turns.alone_share=0.0 (was not set), seed={CONFIG.seed} (was 7)"


def test_a_run_does_not_go_on_with_another_optimiser(corpus_root, tmp_path):
    fit(replace(MUON, steps=2), corpus_root, tmp_path)
    with pytest.raises(ConfigError, match="another optimiser"):
        fit(CONFIG, corpus_root, tmp_path, resume=True)


def test_muon_and_shared_out_matrices_are_refused(corpus_root, tmp_path):
    with pytest.raises(ConfigError, match="whole matrices"):
        fit(MUON, corpus_root, tmp_path / "run", machines=Machines(strategy="fsdp"))
    assert not (tmp_path / "run").exists()


def test_a_finished_run_has_nothing_left_to_do(corpus_root, tmp_path):
    short = replace(CONFIG, steps=5, save_every=5)
    best = fit(short, corpus_root, tmp_path / "run")
    before = inspect_model(best).sha256
    assert fit(short, corpus_root, tmp_path / "run", resume=True) == best
    assert checkpoint(tmp_path / "run")["global_step"] == 5
    assert inspect_model(best).sha256 == before


def test_weights_that_are_no_numbers_do_not_replace_a_checkpoint(corpus_root, tmp_path, monkeypatch):
    step = task.SeparationTask.training_step

    def exploding(self, batch, batch_index):
        loss = step(self, batch, batch_index)
        return loss * float("nan") if self.global_step == 5 else loss

    monkeypatch.setattr(task.SeparationTask, "training_step", exploding)
    with pytest.raises(DivergedError, match=r"step 8 .*learning_rate"):
        fit(CONFIG, corpus_root, tmp_path / "run")
    assert checkpoint(tmp_path / "run")["global_step"] == 4


class Scaled(MixedPrecision):
    """Half precision with a scaler, which Lightning gives to GPUs alone."""

    def __init__(self):
        super().__init__("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3))


def test_half_precision_goes_on_with_its_scale(corpus_root, tmp_path, monkeypatch):
    trainer = lightning.Trainer

    def scaled(**settings):
        return trainer(**(settings | {"precision": None, "plugins": [Scaled()]}))

    monkeypatch.setattr(fit_module.lightning, "Trainer", scaled)
    fit(replace(CONFIG, steps=9), corpus_root, tmp_path / "whole")
    fit(replace(CONFIG, steps=5), corpus_root, tmp_path / "parts")
    fit(replace(CONFIG, steps=9), corpus_root, tmp_path / "parts", resume=True)
    first, second = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    assert first["Scaled"]["scale"] == 2.0**13
    for part in ("Scaled", "current_model_state", "optimizer_states"):
        assert_same(first[part], second[part], part)


def test_a_run_is_not_overwritten_and_nothing_is_not_resumed(corpus_root, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="nothing to resume"):
        fit(CONFIG, corpus_root, tmp_path / "run", resume=True)
    (tmp_path / "run" / "last.ckpt").touch()
    with pytest.raises(ConfigError, match="`resume=True` to continue"):
        fit(CONFIG, corpus_root, tmp_path / "run")


def test_data_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="`data`"):
        fit(CONFIG, tmp_path / "nowhere", tmp_path / "run")


def test_a_checkpoint_keeps_the_names_of_version_0_1(whole):
    """So that runs from before resume."""
    parts = checkpoint(whole(EVERYTHING))
    assert set(parts["callbacks"]) == {"BestWeights", "EMAWeightAveraging", "Plateau", "EarlyStop"}
    assert set(parts["unbraid"]) >= {"accumulate", "validate_every"}
    assert {"state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "loops"} <= set(parts)
