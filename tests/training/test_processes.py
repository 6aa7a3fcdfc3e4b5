"""Two processes on a CPU (gloo) are one process with twice the batch."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import PATIENCE_SECONDS
from tests.training.tiny import checkpoint, logged
from unbraid.weights.store import load_model

SETTINGS = (
    "steps=4 validation.every=2 validation.items=3 save_every=4 log.every=1 log.sounds=1 loss.floor_db=none "
    "optimiser.learning_rate=1e-4 averaging.ema_decay=0.5 averaging.keep_best=2"
)


def run(data, out, *options, **settings):
    process = start(data, out, *options, **settings)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, stderr=said)


def start(data, out, *options, recipe="speech", **settings):
    known = dict(part.split("=", 1) for part in SETTINGS.split()) | {key: str(value) for key, value in settings.items()}
    command = [sys.executable, "-m", "unbraid.cli.main", "train", recipe, "--smoke", "--data", str(data)]
    command += ["--out", str(out), "--accelerator", "cpu", *options]
    command += [part for key, value in known.items() for part in ("--set", f"{key}={value}")]
    environment = os.environ | {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_two_processes_are_one_with_twice_the_batch(corpus_root, tmp_path):
    two = run(corpus_root, tmp_path / "two", "--devices", "2", "--strategy", "ddp", batch_size=2)
    assert two.returncode == 0, two.stderr
    one = run(corpus_root, tmp_path / "one", batch_size=4)
    assert one.returncode == 0, one.stderr
    first, second = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    for part in ("state_dict", "current_model_state"):
        for name, tensor in first[part].items():
            assert (tensor - second[part][name]).abs().max() < 1e-5, name
    for column in ("valid_si_sdri_db", "valid_snr_db", "valid_loss"):
        assert logged(tmp_path / "two", column) == pytest.approx(logged(tmp_path / "one", column), abs=2e-3)
    assert (tmp_path / "two" / "average.safetensors").is_file()
    assert two.stderr.count("step 4:") == 1  # one of the two speaks


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["speech", "sfsrnet-small-all"])
def test_sharing_the_weights_out_changes_nothing(recipe, corpus_root, tmp_path):
    """FSDP against DDP, and on from its checkpoint; also where losses are taken on the way."""
    settings = {"recipe": recipe, "batch_size": 2}
    ddp = run(corpus_root, tmp_path / "ddp", "--devices", "2", "--strategy", "ddp", **settings)
    assert ddp.returncode == 0, ddp.stderr
    sharded = run(corpus_root, tmp_path / "fsdp", "--devices", "2", "--strategy", "fsdp", steps=3, **settings)
    assert sharded.returncode == 0, sharded.stderr
    on = run(corpus_root, tmp_path / "fsdp", "--devices", "2", "--strategy", "fsdp", "--resume", **settings)
    assert on.returncode == 0, on.stderr
    first, second = checkpoint(tmp_path / "ddp"), checkpoint(tmp_path / "fsdp")
    for part in ("state_dict", "current_model_state"):
        assert first[part].keys() == second[part].keys()
        for name, tensor in first[part].items():
            assert (tensor - second[part][name]).abs().max() < 1e-5, name
    best = [load_model(tmp_path / run / "best.safetensors").state_dict() for run in ("ddp", "fsdp")]
    for name, tensor in best[0].items():
        assert (tensor - best[1][name]).abs().max() < 1e-5, name


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(corpus_root, tmp_path):
    """SIGTERM reaches one of them only, as it may from a scheduler."""
    two = "--devices", "2", "--strategy", "ddp"
    whole = run(corpus_root, tmp_path / "whole", *two, steps=30)
    assert whole.returncode == 0, whole.stderr
    process = start(corpus_root, tmp_path / "parts", *two, steps=30, save_every=1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "parts" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert "--resume" in said
    assert 1 <= checkpoint(tmp_path / "parts")["global_step"] < 30
    again = run(corpus_root, tmp_path / "parts", *two, "--resume", steps=30)
    assert again.returncode == 0, again.stderr
    first, second = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    for name, tensor in first["current_model_state"].items():
        assert torch.equal(tensor, second["current_model_state"][name]), name
