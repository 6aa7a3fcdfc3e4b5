"""One task for every model: sources that have a place as well as speakers, unknown references, long items."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from tests.data.builders import write_song
from tests.training.tiny import CONFIG, checkpoint, logged
from unbraid.data.items import Example
from unbraid.evaluation.scoring import score_estimates
from unbraid.losses.weighted import LossConfig, LossTerm
from unbraid.models.catalog import PRESETS, build_model
from unbraid.separation.config import SeparationConfig
from unbraid.separation.separator import Separator
from unbraid.signal import stft as stft_module
from unbraid.training import fit as fit_module
from unbraid.training import task as task_module
from unbraid.training.config import GivenMixtures, MultiLossConfig, StemMixing, ValidationConfig
from unbraid.training.fit import fit
from unbraid.training.task import SeparationTask
from unbraid.weights.store import load_model

STEMS = ("vocals", "drums")


def build_stems(config):
    """A small model whose sources have their places."""
    model = build_model(config)
    model.spec = replace(model.spec, exchangeable=False)
    return model


STEM_CONFIG = replace(
    CONFIG,
    model=replace(CONFIG.model, sources=STEMS),
    loss=LossConfig(terms=(LossTerm(name="thresholded-snr"),)),
    validation=ValidationConfig(every=3, items=2, piece_seconds=0.4),
    steps=6,
)


@pytest.fixture
def songs(tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "build_model", build_stems)
    for split in ("train", "valid"):
        for number in range(2):
            write_song(tmp_path / "songs" / split / f"{split}{number}", stems=STEMS, seconds=1.0)
    return tmp_path / "songs"


@pytest.mark.parametrize("mixing", [StemMixing(segment_seconds=0.5), GivenMixtures(segment_seconds=0.5)])
def test_sources_that_have_a_place_are_trained_in_it(mixing, songs, tmp_path):
    fit(replace(STEM_CONFIG, mixing=mixing), songs, tmp_path / "run")
    for column in ("valid_loss", "valid_snr_db", "valid_snr_db/vocals", "valid_si_sdri_db/drums"):
        values = logged(tmp_path / "run", column)
        assert len(values) == 2, column
        assert all(math.isfinite(value) for value in values)
    parts = [logged(tmp_path / "run", f"valid_snr_db/{source}")[0] for source in STEMS]
    assert logged(tmp_path / "run", "valid_snr_db")[0] == pytest.approx(sum(parts) / 2, abs=1e-4)
    best = checkpoint(tmp_path / "run")["callbacks"]["BestWeights"]["best"]
    assert best == pytest.approx(max(logged(tmp_path / "run", "valid_snr_db")), abs=1e-4)


def validate(task, item):
    task.on_validation_epoch_start()
    task.eval()
    with torch.no_grad():
        task.validation_step(item, 0)
    return {name: total / count for name, (total, count) in task._sums.items()}


@pytest.fixture
def stem_task(songs):
    return SeparationTask(STEM_CONFIG, songs)


def test_long_items_are_scored_in_pieces(stem_task):
    references = 0.1 * torch.randn(2, 1, 8000)
    item = Example(references.sum(0), references, torch.ones(2, dtype=torch.bool))
    lengths = []
    forward = stem_task.model.forward
    stem_task.model.forward = lambda mixture: (lengths.append(mixture.shape[-1]), forward(mixture))[1]
    found = validate(stem_task, item)
    assert lengths == [3200, 3200, 1600]
    pieces = []
    for start in (0, 3200, 6400):
        part = references[..., start : start + 3200]
        with torch.no_grad():
            estimates = forward(part.sum(0)[None])[0]
        pieces.append(score_estimates(estimates, part, part.sum(0), exchangeable=False, sources=STEMS))
    assert found["snr_db"] == pytest.approx(sum(piece.value("SNR") for piece in pieces) / 3, abs=1e-4)
    assert found["si_sdri_db/drums"] == pytest.approx(
        sum(p.targets[1].metrics["SI-SDRi"] for p in pieces) / 3, abs=1e-4
    )


def test_items_are_separated_as_the_run_says(songs):
    """In chunks that are averaged, as SFC validates: the score is that of the whole item."""
    chunks = SeparationConfig(segment_seconds=0.2, overlap=0.5, join="average")
    validation = replace(STEM_CONFIG.validation, piece_seconds=10.0, separation=chunks)
    task = SeparationTask(replace(STEM_CONFIG, validation=validation), songs)
    references = 0.1 * torch.randn(2, 1, 4000)
    mixture = references.sum(0)
    found = validate(task, Example(mixture, references, torch.ones(2, dtype=torch.bool)))
    stems = Separator(task.model, device="cpu", config=chunks).separate(mixture, task.model.spec.sample_rate)
    estimates = torch.stack([torch.from_numpy(stem.samples) for stem in stems.values()])
    expected = score_estimates(estimates, references, mixture, exchangeable=False, sources=STEMS)
    assert found["snr_db"] == pytest.approx(expected.value("SNR"), abs=1e-5)
    assert task.model.training is False


def test_unknown_and_silent_references_are_not_scored(stem_task):
    references = 0.1 * torch.randn(2, 1, 3000)
    references[1] = 0
    silent = validate(stem_task, Example(references.sum(0), references, torch.ones(2, dtype=torch.bool)))
    assert "snr_db/vocals" in silent
    assert "snr_db/drums" not in silent
    references[1] = 5.0
    unknown = validate(stem_task, Example(references[0], references, torch.tensor([True, False])))
    assert "snr_db/drums" not in unknown
    assert unknown["snr_db"] == unknown["snr_db/vocals"]
    zeros = torch.zeros(2, 1, 3000)
    nothing = validate(stem_task, Example(zeros[0], zeros, torch.ones(2, dtype=torch.bool)))
    assert set(nothing) == {"loss"}


def test_speakers_are_scored_under_their_best_order(corpus_root):
    task = SeparationTask(CONFIG, corpus_root)
    references = 0.1 * torch.randn(2, 1, 4000)
    item = Example(references.sum(0), references, torch.ones(2, dtype=torch.bool))
    turned = Example(item.mixture, references.flip(0), item.present)
    assert validate(task, item) == pytest.approx(validate(task, turned), abs=1e-5)


def test_mixed_precision_leaves_transforms_systems_and_losses_in_float32(corpus_root, tmp_path, monkeypatch):
    """The linear layers of the model run in bfloat16; the S4 kernel, the spectra of the loss and the loss do not."""
    seen = {"linear": set(), "kernel": set(), "spectrum": set(), "loss": set()}
    config = replace(
        CONFIG,
        precision="bf16-mixed",
        loss=LossConfig(terms=(LossTerm(name="snr"), LossTerm(name="multi-resolution-stft"))),
        steps=2,
        validation=replace(CONFIG.validation, every=2, items=1),
    )
    build = task_module.build_model

    def watched(model_config):
        model = build(model_config)
        model.bottleneck.register_forward_hook(lambda module, inputs, output: seen["linear"].add(output.dtype))
        layer = model.rounds.block.state_space.layer
        kernel = layer.kernel
        layer.kernel = lambda length: (seen["kernel"].add((made := kernel(length)).dtype), made)[1]
        return model

    transform = stft_module.torch.stft
    monkeypatch.setattr(task_module, "build_model", watched)
    monkeypatch.setattr(
        stft_module.torch,
        "stft",
        lambda *args, **kwargs: (seen["spectrum"].add((made := transform(*args, **kwargs)).dtype), made)[1],
    )
    step = SeparationTask.training_step
    monkeypatch.setattr(
        SeparationTask,
        "training_step",
        lambda self, batch, index: (seen["loss"].add((loss := step(self, batch, index)).dtype), loss)[1],
    )
    fit(config, corpus_root, tmp_path / "run")
    assert seen["linear"] == {torch.bfloat16, torch.float32}  # float32 when the sounds are logged
    assert seen["kernel"] == {torch.float32}
    assert seen["spectrum"] == {torch.complex64}
    assert seen["loss"] == {torch.float32}
    assert all(tensor.dtype != torch.bfloat16 for tensor in checkpoint(tmp_path / "run")["state_dict"].values())


def test_where_memory_runs_out_the_run_goes_on_in_smaller_batches(corpus_root, tmp_path, monkeypatch):
    """Batches of four fit until step 5; from the checkpoint of step 4 on there are two of two."""
    config = replace(CONFIG, batch_size=4, steps=8, loss=LossConfig(), validation=replace(CONFIG.validation, every=6))
    fit(config, corpus_root, tmp_path / "whole")
    step = SeparationTask.training_step
    sizes = []

    def short_of_memory(self, batch, index):
        if len(batch.mixture) > 2 and self.global_step >= 5:
            # As a CPU says it.
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        sizes.append(len(batch.mixture))
        return step(self, batch, index)

    monkeypatch.setattr(SeparationTask, "training_step", short_of_memory)
    fit(config, corpus_root, tmp_path / "run")
    assert sizes == 5 * [4] + 8 * [2]
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "run")
    assert parts["global_step"] == 8
    for name, tensor in whole["current_model_state"].items():
        assert (tensor - parts["current_model_state"][name]).abs().max() < 2e-3, name
    assert fit_module.read_settings(tmp_path / "run")["accumulate"] == 2


def test_what_does_not_fit_even_alone_is_a_sentence(corpus_root, tmp_path, monkeypatch):
    def full(self, batch, index):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(SeparationTask, "training_step", full)
    with pytest.raises(fit_module.DeviceError, match="gradient_checkpointing"):
        fit(replace(CONFIG, batch_size=2), corpus_root, tmp_path / "run")


def test_a_step_that_teaches_nothing_is_skipped(corpus_root, tmp_path):
    """Everything lies below a floor of 1000 dB, as if all examples were separated perfectly."""
    loss = replace(CONFIG.loss, floor_db=1000.0, below_floor="skip")
    run = replace(CONFIG, loss=loss, steps=3, averaging=replace(CONFIG.averaging, ema_decay=None))
    fit(run, corpus_root, tmp_path / "run")
    state = checkpoint(tmp_path / "run")
    torch.manual_seed(run.seed)
    begun = SeparationTask(run, corpus_root).state_dict()
    assert state["global_step"] == 3
    assert not state["optimizer_states"][0]["state"]
    assert all(torch.equal(value, begun[name]) for name, value in state["state_dict"].items())


def test_gradient_checkpointing_is_asked_of_the_model(corpus_root, monkeypatch):
    asked = []
    build = task_module.build_model

    def built(config):
        model = build(config)
        model.set_gradient_checkpointing = asked.append
        return model

    monkeypatch.setattr(task_module, "build_model", built)
    SeparationTask(replace(CONFIG, gradient_checkpointing=True), corpus_root)
    assert asked == [True]


def test_deterministic_algorithms_are_asked_for(corpus_root, tmp_path, monkeypatch):
    asked = []
    step = SeparationTask.training_step

    def watched(self, batch, index):
        asked.append(torch.are_deterministic_algorithms_enabled())
        return step(self, batch, index)

    monkeypatch.setattr(SeparationTask, "training_step", watched)
    try:
        fit(replace(CONFIG, deterministic=True, steps=2, save_every=2), corpus_root, tmp_path / "run")
    finally:
        torch.use_deterministic_algorithms(False)
    assert asked == [True, True]


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(tmp_path):
    """In a process of its own, because shapes that are checked cannot be compiled."""
    script = (
        "import sys, torch; from dataclasses import replace; from pathlib import Path\n"
        "from tests.conftest import write_corpus; from tests.training.tiny import CONFIG, checkpoint\n"
        "from unbraid.training.fit import fit\n"
        "root = Path(sys.argv[1]); write_corpus(root)\n"
        "short = replace(CONFIG, steps=3, validation=replace(CONFIG.validation, every=3, items=1))\n"
        "fit(short, root, root / 'plain'); fit(replace(short, compile=True), root, root / 'compiled')\n"
        "plain, compiled = checkpoint(root / 'plain'), checkpoint(root / 'compiled')\n"
        "assert plain['state_dict'].keys() == compiled['state_dict'].keys()\n"
        "pairs = [(plain['state_dict'][name], compiled['state_dict'][name]) for name in plain['state_dict']]\n"
        "assert all((one - other).abs().max() < 1e-2 for one, other in pairs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_block_is_judged_and_validation_is_of_the_last_only(corpus_root, tmp_path):
    tiny = TINY["sepformer"] | {"heads": "each"}
    config = replace(
        CONFIG,
        model=replace(PRESETS["sepformer"], **tiny),
        loss=LossConfig(terms=(LossTerm(name="si-sdr"),)),
        multi_loss=MultiLossConfig(rates=(2000, 8000)),
        steps=4,
        log=replace(CONFIG.log, every=1),
        validation=replace(CONFIG.validation, every=4),
    )
    fit(config, corpus_root, tmp_path / "run")
    first, second = (logged(tmp_path / "run", f"loss/block{number}") for number in (1, 2))
    means = [(one + other) / 2 for one, other in zip(first, second, strict=True)]
    assert logged(tmp_path / "run", "loss") == pytest.approx(means, abs=1e-4)
    last = load_model(tmp_path / "run" / "best.safetensors")
    assert len(last.intermediate_estimates(torch.zeros(1, 1, 100))) == 2
    task = SeparationTask(config, corpus_root)
    references = 0.1 * torch.randn(2, 1, 4000)
    item = Example(references.sum(0), references, torch.ones(2, dtype=torch.bool))
    plain = SeparationTask(replace(config, multi_loss=None), corpus_root)
    plain.model.load_state_dict(task.model.state_dict())
    assert validate(task, item) == pytest.approx(validate(plain, item))
