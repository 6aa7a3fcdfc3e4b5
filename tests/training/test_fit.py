"""Training learns, and what it writes can be separated with."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.data.made import spec
from tests.training.tiny import CONFIG, assert_same, checkpoint, logged
from unbraid.data.lists import bundled
from unbraid.data.lists.draw_pairs import list_mixtures
from unbraid.data.lists.speaker_pairs import write_list
from unbraid.data.open import open_dataset
from unbraid.errors import ConfigError, DataError, MissingExtraError
from unbraid.losses.weighted import LossConfig, LossTerm
from unbraid.models.catalog import build_model
from unbraid.training import fit as fit_module
from unbraid.training.callbacks.best import BestWeights
from unbraid.training.config import AveragingConfig, GivenMixtures, LogConfig, Turns, ValidationConfig
from unbraid.training.fit import fit, read_settings
from unbraid.training.run_examples import Examples
from unbraid.training.task import SeparationTask
from unbraid.weights.store import inspect_model, load_model, save_model


@pytest.mark.slow
def test_it_learns(corpus_root, tmp_path):
    config = replace(
        CONFIG,
        steps=400,
        validation=replace(CONFIG.validation, every=200),
        averaging=AveragingConfig(ema_decay=0.98),
        save_every=200,
    )
    model = load_model(fit(config, corpus_root, tmp_path / "run"))
    assert model.spec.sample_rate == 8000
    assert logged(tmp_path / "run", "valid_si_sdri_db")[-1] > 3


def test_what_happens_is_written_down(corpus_root, tmp_path):
    terms = (LossTerm(name="snr"), LossTerm(name="l1", weight=0.5))
    config = replace(CONFIG, loss=LossConfig(terms=terms), steps=10)
    best = fit(config, corpus_root, tmp_path / "run")
    out = tmp_path / "run"
    for column in ("loss", "loss/snr", "loss/l1", "gradient_norm", "learning_rate", "examples_per_second"):
        values = logged(out, column)
        assert len(values) == 5, column
        assert all(value == value for value in values)
    total, snr, l1 = (logged(out, column)[-1] for column in ("loss", "loss/snr", "loss/l1"))
    assert total == pytest.approx(snr + 0.5 * l1, abs=1e-4)
    for column in ("valid_loss", "valid_si_sdri_db", "valid_si_sdr_db", "valid_snr_db"):
        assert len(logged(out, column)) == 2, column
    (folder,) = (out / "logs").iterdir()
    board = EventAccumulator(str(folder))
    board.Reload()
    tags = board.Tags()
    for signal in ("mixture", "reference/speaker1", "estimate/speaker2"):
        assert f"valid-0/{signal}" in tags["audio"]
        assert f"valid-0/{signal}/spectrogram" in tags["images"]
    assert len(board.Audio("valid-0/estimate/speaker1")) == 2
    assert len(board.Audio("valid-0/mixture")) == 1
    assert read_settings(out)["steps"] == 10
    facts = inspect_model(best).facts
    assert facts["recipe"] == "tiny"
    assert facts["steps"] in (5, 10)
    assert "valid_snr_db" in facts


def test_the_best_weights_are_averaged(corpus_root, tmp_path):
    config = replace(CONFIG, averaging=AveragingConfig(ema_decay=0.5, keep_best=2), steps=15)
    path = fit(config, corpus_root, tmp_path / "run")
    assert path.name == "average.safetensors"
    kept = sorted((tmp_path / "run" / "kept").glob("*.safetensors"))
    assert len(kept) == 2
    one, two = (load_model(file).state_dict() for file in kept)
    for name, tensor in load_model(path).state_dict().items():
        assert (tensor - (one[name] + two[name]) / 2).abs().max() < 1e-6
    steps = [int(file.stem.removeprefix("step-")) for file in kept]
    assert inspect_model(path).facts["average_of_steps"] == steps
    assert inspect_model(tmp_path / "run" / "best.safetensors").facts["steps"] in steps


def test_without_an_average_the_weights_are_validated_as_they_are(corpus_root, tmp_path):
    config = replace(CONFIG, averaging=AveragingConfig(ema_decay=None), steps=5, save_every=5)
    best = load_model(fit(config, corpus_root, tmp_path / "run")).state_dict()
    state = checkpoint(tmp_path / "run")["state_dict"]
    assert all((best[name.removeprefix("model.")] == tensor).all() for name, tensor in state.items())


def test_the_average_follows_its_formula(corpus_root, tmp_path):
    """After one more step: average = decay * average before + (1 - decay) * weights."""
    config = replace(CONFIG, averaging=AveragingConfig(ema_decay=0.75, ema_start_step=3), steps=3)
    fit(config, corpus_root, tmp_path / "run")
    before = checkpoint(tmp_path / "run")
    for name, tensor in before["state_dict"].items():
        assert (tensor == before["current_model_state"][name]).all()
    fit(replace(config, steps=4), corpus_root, tmp_path / "run", resume=True)
    after = checkpoint(tmp_path / "run")
    for name, tensor in after["state_dict"].items():
        wanted = 0.75 * before["state_dict"][name] + 0.25 * after["current_model_state"][name]
        assert torch.allclose(tensor, wanted, rtol=1e-5, atol=1e-6), name


def test_a_list_that_is_not_there_is_answered_with_those_that_are(corpus_root, tmp_path):
    config = replace(CONFIG, validation=ValidationConfig(items=3, list_name="speach-valid"))
    with pytest.raises(ConfigError, match="speech-noisy-test, speech-noisy-valid"):
        fit(config, corpus_root, tmp_path / "run")


def test_kept_weights_that_are_gone_are_not_averaged_nor_counted(corpus_root, tmp_path):
    """Neither at the end of a run nor when a resumed one ranks what it has."""
    best = BestWeights(tmp_path, "tiny", AveragingConfig(keep_best=3))
    best.kept = [(3.0, 10), (2.0, 30), (1.0, 20)]
    for step in (20, 30):
        (tmp_path / "kept").mkdir(exist_ok=True)
        save_model(build_model(CONFIG.model), tmp_path / "kept" / f"step-{step:08d}.safetensors")
    path = best.write_average()
    assert path is not None
    assert inspect_model(path).facts == {"steps": 30, "average_of_steps": [20, 30]}

    config = replace(CONFIG, averaging=AveragingConfig(ema_decay=0.5, keep_best=2), steps=10)
    fit(config, corpus_root, tmp_path / "run")
    for file in (tmp_path / "run" / "kept").glob("*.safetensors"):
        file.unlink()
    end = fit(replace(config, steps=15), corpus_root, tmp_path / "run", resume=True)
    assert end.name == "best.safetensors"
    assert [step for _, step in checkpoint(tmp_path / "run")["callbacks"]["BestWeights"]["kept"]] == [15]


def test_a_run_that_nothing_could_score_says_so(corpus_root, tmp_path, monkeypatch):
    monkeypatch.setattr(SeparationTask, "goodness", lambda self: math.nan)
    with pytest.raises(DataError, match="no validation gave a score"):
        fit(replace(CONFIG, steps=5), corpus_root, tmp_path / "run")


@pytest.fixture
def listed(corpus_root, monkeypatch, tmp_path):
    """Makes a list of the corpus's validation mixtures the bundled one, with some rows changed."""

    def make(change):
        monkeypatch.setattr(bundled, "FOLDER", tmp_path)
        mixtures = list_mixtures(open_dataset(corpus_root, "valid"), 4, seed=0)
        write_list([change(number, mixture) for number, mixture in enumerate(mixtures)], tmp_path / "mine.csv")
        config = replace(CONFIG, validation=ValidationConfig(items=3, list_name="mine"))
        return Examples(config, build_model(CONFIG.model).spec, corpus_root)

    return make


def test_a_list_is_validated_on_as_far_as_asked(listed):
    assert listed(lambda _, mixture: mixture).describe_validation() == "3 mixtures of the list 'mine'"


def test_a_list_with_a_recording_missing_is_not_replaced_by_other_mixtures(listed):
    with_hole = listed(lambda number, mixture: replace(mixture, first="lost.wav") if number == 1 else mixture)
    with pytest.raises(DataError, match=r"lacks 1 of the \d recordings of the list, such as lost.wav"):
        with_hole.describe_validation()


def test_other_data_than_the_lists_is_validated_on_and_said(listed):
    other = listed(lambda _, mixture: replace(mixture, first="lost.wav", second="gone.wav"))
    assert other.describe_validation().endswith("because nothing of the list 'mine' is there")
    assert "split 'valid'" in other.describe_validation()


def test_sources_are_renamed_before_they_meet_the_model(tmp_path):
    data = tmp_path / "data"
    for split in ("train", "valid"):
        for name in ("a", "b"):
            (data / split / name).mkdir(parents=True)
            for number, source in enumerate(("drums", "bass", "vocals")):
                soundfile.write(data / split / name / f"{source}.wav", np.full(8000, 0.1 * (number + 1)), 8000)
    config = replace(CONFIG, mixing=GivenMixtures(), rename=("drums:accompaniment", "bass:accompaniment"))
    model = spec(("vocals", "accompaniment"), channels=1)
    batch = next(iter(Examples(config, model, data).train_loader(0, 0, 1)))
    assert batch.references[0, :, 0, 100].tolist() == pytest.approx([0.3, 0.3], abs=1e-3)
    assert batch.present.all()
    with pytest.raises(ConfigError, match="not 'drums'"):
        replace(CONFIG, rename=("drums",))


def test_silent_references_need_a_loss_that_knows_them(corpus_root, tmp_path):
    alone = replace(CONFIG, mixing=replace(CONFIG.mixing, turns=Turns(alone_share=0.5)), steps=4)
    with pytest.raises(ConfigError, match="the loss 'snr' cannot judge"):
        fit(alone, corpus_root, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    knowing = replace(alone, loss=LossConfig(terms=(LossTerm(name="thresholded-snr"),)))
    assert fit(knowing, corpus_root, tmp_path / "run").is_file()


def test_early_stop_ends_the_run(corpus_root, tmp_path):
    config = replace(CONFIG, optimiser=replace(CONFIG.optimiser, learning_rate=1e-12), early_stop=2, steps=100)
    fit(config, corpus_root, tmp_path / "run")
    assert checkpoint(tmp_path / "run")["global_step"] <= 20


def test_a_logger_that_is_not_there_is_a_sentence(corpus_root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    config = replace(CONFIG, log=LogConfig(wandb_project="unbraid"))
    with pytest.raises(MissingExtraError, match=r"unbraid\[wandb\]"):
        fit(config, corpus_root, tmp_path / "run")


class RecordingLogger(Logger):
    """Stands in for the one of Weights & Biases, which needs an account."""

    name, version = "recording", "0"

    def __init__(self):
        self.sounds, self.pictures, self.numbers = [], [], []

    def log_hyperparams(self, *args, **kwargs): ...

    def log_metrics(self, metrics, step=None):
        self.numbers.append(metrics)

    def log_audio(self, key, audios, step=None, sample_rate=()):
        self.sounds.append((key, audios[0].shape, sample_rate[0]))

    def log_image(self, key, images, step=None):
        self.pictures.append((key, images[0].shape))


def test_every_logger_that_takes_sounds_gets_them(corpus_root, tmp_path, monkeypatch):
    logger = RecordingLogger()
    monkeypatch.setattr(fit_module, "build_loggers", lambda config, out: [logger])
    fit(replace(CONFIG, steps=5), corpus_root, tmp_path / "run")
    assert ("valid-0/mixture", (6400,), 8000) in logger.sounds
    assert logger.pictures[0][1] == (513, 26)
    assert any("loss" in metrics for metrics in logger.numbers)


def test_processes_that_prepare_examples_change_nothing(corpus_root, tmp_path):
    short = replace(CONFIG, steps=5, save_every=5)
    fit(short, corpus_root, tmp_path / "alone")
    fit(replace(short, num_workers=2), corpus_root, tmp_path / "helped")
    first, second = checkpoint(tmp_path / "alone"), checkpoint(tmp_path / "helped")
    assert_same(first["current_model_state"], second["current_model_state"])
