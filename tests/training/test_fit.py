"""Training: it learns, it resumes bit for bit, and what it writes can be separated with."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import lightning.pytorch as lightning
import pytest
import torch

from unbraid.data import lists
from unbraid.data.corpus import load_corpus
from unbraid.data.mixing import SpeakerMixing, list_mixtures, write_list
from unbraid.errors import ConfigError, DataError, DiskSpaceError
from unbraid.layers.state_space import StateSpace
from unbraid.models.catalog import build_model
from unbraid.models.s4m import S4MConfig
from unbraid.recipes import RECIPES
from unbraid.training import task
from unbraid.training.config import OptimiserConfig, TrainingConfig
from unbraid.training.fit import fit
from unbraid.training.task import parameter_groups, trapezoid
from unbraid.weights.store import inspect_model, load_model

CONFIG = TrainingConfig(
    name="tiny",
    model=S4MConfig(
        sample_rate=8000, kernel_ms=8.0, bottleneck_dim=16, hidden_dim=32, num_rounds=2, depth=3, chunk_seconds=2.0
    ),
    mixing=SpeakerMixing(segment_seconds=0.8),
    optimiser=OptimiserConfig(warmup_steps=5, learning_rate=3e-3, decay_share=0.0, ema_decay=0.98),
    steps=12,
    batch_size=2,
    validate_every=5,
    validation_mixtures=3,
    save_every=4,
)


@pytest.fixture
def data(corpus_root, tmp_path, monkeypatch):
    path = tmp_path / "valid.csv"
    write_list(list_mixtures(load_corpus(corpus_root, "valid", 8000), 3, seed=0), path)
    monkeypatch.setattr(task, "VALIDATION_LIST", path)
    return corpus_root


def logged(out, column):
    """Values of a column over all starts, in order."""
    values = []
    for path in sorted((out / "logs").glob("*/metrics.csv")):
        with path.open() as file:
            values += [float(row[column]) for row in csv.DictReader(file) if row.get(column)]
    return values


def weights(path):
    return load_model(path).state_dict()


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(data, tmp_path, monkeypatch):
    whole = fit(CONFIG, data, tmp_path / "whole")
    # Ctrl-C during step 7, which lies between two validations and between two checkpoints.
    step = task.SpeakerSeparation.training_step

    def interrupting(self, references, batch_index):
        if self.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, references, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(task.SpeakerSeparation, "training_step", interrupting)
        with pytest.raises(KeyboardInterrupt, match="step 7"):
            fit(CONFIG, data, tmp_path / "parts")
    assert torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["global_step"] == 7
    parts = fit(CONFIG, data, tmp_path / "parts", resume=True)
    last = [torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "parts")]
    assert [checkpoint["global_step"] for checkpoint in last] == [12, 12]
    assert inspect_model(whole).facts["steps"] in (5, 10, 12)
    for kind in ("state_dict", "current_model_state"):
        for name, tensor in last[0][kind].items():
            assert torch.equal(tensor, last[1][kind][name]), name
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(parts)[name])


@pytest.mark.slow
def test_it_learns(data, tmp_path):
    config = replace(CONFIG, steps=400, validate_every=200, save_every=200)
    model = load_model(fit(config, data, tmp_path / "run"))
    assert model.spec.sample_rate == 8000
    assert logged(tmp_path / "run", "valid_si_sdri_db")[-1] > 3


def test_a_killed_run_leaves_a_whole_checkpoint(data, tmp_path):
    """SIGKILL in the middle: what is there is either nothing or a checkpoint that resumes."""
    script = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from tests.training.test_fit import CONFIG\n"
        "from unbraid.training import task; from unbraid.training.fit import fit\n"
        "task.VALIDATION_LIST = Path(sys.argv[3])\n"
        "fit(replace(CONFIG, steps=10_000, save_every=1), Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(data), str(out), str(task.VALIDATION_LIST)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (out / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = torch.load(out / "last.ckpt", weights_only=True)["global_step"]
    assert step >= 1
    fit(replace(CONFIG, steps=step + 2), data, out, resume=True)
    assert torch.load(out / "last.ckpt", weights_only=True)["global_step"] == step + 2


def test_a_full_disk_keeps_the_checkpoint_before(data, tmp_path, monkeypatch):
    saved = lightning.Trainer.save_checkpoint

    def full(self, path, *args, **kwargs):
        saved(self, path, *args, **kwargs)
        if self.global_step > 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", full)
    with pytest.raises(DiskSpaceError, match="--resume"):
        fit(CONFIG, data, tmp_path / "run")
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert not list((tmp_path / "run").glob(".*partial*"))


def test_a_run_is_not_overwritten_and_nothing_is_not_resumed(data, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="nothing to resume"):
        fit(CONFIG, data, tmp_path / "run", resume=True)
    (tmp_path / "run" / "last.ckpt").touch()
    with pytest.raises(ConfigError, match="--resume"):
        fit(CONFIG, data, tmp_path / "run")


def test_data_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="--data"):
        fit(CONFIG, tmp_path / "nowhere", tmp_path / "run")


def test_the_rate_goes_up_stays_and_goes_down():
    config = OptimiserConfig(warmup_steps=10, decay_share=0.5)
    rates = [trapezoid(step, 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == 0


def test_state_space_parameters_are_handled_with_care():
    model = build_model(CONFIG.model)
    rest, careful = parameter_groups(model, OptimiserConfig(learning_rate=5e-3, weight_decay=0.1))
    systems = [module for module in model.modules() if isinstance(module, StateSpace)]
    assert len(careful["params"]) == sum(len(list(system.parameters())) for system in systems)
    assert (careful["lr"], careful["weight_decay"]) == (1e-3, 0.0)
    assert rest["weight_decay"] == 0.1
    assert len(rest["params"]) + len(careful["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds(name):
    config = RECIPES[name]()
    assert config.name == name
    assert build_model(config.model).spec.num_sources == config.mixing.num_speakers


def test_the_bundled_lists_are_whole():
    from importlib.resources import files

    folder = files(lists)
    assert sum(1 for _ in (folder / "speech-valid.csv").read_text().splitlines()) == 201
    assert sum(1 for _ in (folder / "speech-test.csv").read_text().splitlines()) == 301
