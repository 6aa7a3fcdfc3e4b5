"""`unbraid models`, `profile`, `doctor` and `train`."""

from __future__ import annotations

import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import TINY
from tests.weights.published import Bomb, write_sfc
from unbraid.audio.recording import Recording
from unbraid.cli import doctor as doctor_module
from unbraid.models.catalog import PRESETS, build_model
from unbraid.weights.store import inspect_model, load_model, save_model


def test_list(run):
    known = json.loads(run("models", "list", "--json").out)
    assert {entry["name"] for entry in known["presets"]} == set(PRESETS)
    tiny = next(entry for entry in known["presets"] if entry["name"] == "s4m-tiny")
    assert tiny["parameters"] == 1_848_423
    assert tiny["sources"] == ["speaker1", "speaker2"]
    assert all(name in run("models", "list", "--all").out for name in PRESETS)
    shown = run("models", "list").out
    assert "speech-noisy" in shown
    assert "htdemucs" in shown
    assert run("separate", "--list-models").out == shown


def test_list_by_task(run):
    shown = run("models", "list", "--task", "film").out
    assert "cinematic" in shown
    assert "sfc-film-medium" in shown
    assert "speech-noisy" not in shown
    assert "htdemucs" not in shown
    published = json.loads(run("models", "list", "--task", "film", "--json").out)["published"]
    assert {entry["task"] for entry in published} == {"film"}


def test_show_of_what_is_not_downloaded_needs_no_network(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    shown = run("models", "show", "music-best").out
    assert "SDR 9.95 dB on MUSDB18-HQ test (arXiv 2602.08671)" in shown
    assert "unbraid models download sfc-music-medium" in shown


def test_show(run, tiny):
    data = json.loads(run("models", "show", tiny, "--json").out)
    assert data["trained"]
    assert data["sha256"] == inspect_model(tiny).sha256
    assert data["spec"]["sample_rate"] == 16_000
    assert data["config"]["kernel_ms"] == 8.0
    assert "speaker1, speaker2 (in any order)" in run("models", "show", tiny).out
    assert "1,848,423" in run("models", "show", "s4m-tiny").out
    shown = run("models", "show", "s4m-tiny-post-filter").out
    assert "separator.sources = speaker1,speaker2" in shown
    assert "super_resolution.network.sequence.num_heads = 4" in shown
    assert "there is no model 'nothing'" in run("models", "show", "nothing").errors[0]


def test_export_halves_the_weights(run, tiny, tmp_path):
    out = tmp_path / "deep" / "half.safetensors"
    assert run("models", "export", tiny, "--half", "--out", out).code == 0
    assert all(tensor.dtype != torch.float32 for tensor in load_file(out).values())
    mixture = torch.randn(1, 1, 4_000)
    torch.testing.assert_close(load_model(str(out))(mixture), load_model(tiny)(mixture), rtol=0, atol=1e-2)
    assert "does not end in .safetensors" in run("models", "export", tiny, "--out", tmp_path / "half.bin").errors[0]


def test_import_refuses_what_it_cannot_take(run, tmp_path, tiny):
    def complaint(path, *more) -> str:
        outcome = run("models", "import", path, "--preset", "s4m-tiny", "--out", tmp_path / "out.safetensors", *more)
        assert outcome.code == 1
        return outcome.errors[0]

    torch.save({"weight": Bomb(tmp_path / "bomb")}, tmp_path / "bomb.pt")
    assert "holds more than weights" in complaint(tmp_path / "bomb.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "bomb")))
    assert "old.pt" in complaint(tmp_path / "old.pt")
    assert not (tmp_path / "bomb").exists()
    torch.save({"weight": torch.ones(1)}, tmp_path / "disguised.safetensors")
    assert "is neither a safetensors nor a PyTorch file" in complaint(tmp_path / "disguised.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights at all")
    assert "is neither a safetensors nor a PyTorch file" in complaint(tmp_path / "text.safetensors")
    assert "there is no file" in complaint(tmp_path / "missing.safetensors")
    assert "the weights do not fit the model" in complaint(tiny)
    assert "there is no format 'others'" in complaint(tiny, "--from", "others")
    assert not (tmp_path / "out.safetensors").exists()


def test_import_knows_what_lies_as_its_authors_publish_it(run, tmp_path):
    write_sfc(tmp_path / "small")
    out = tmp_path / "mine.safetensors"
    assert run("models", "import", tmp_path / "small", "--out", out).code == 0
    assert inspect_model(out).facts["imported_from"] == "sfc-authors"
    assert "go with --preset" in run("models", "import", tmp_path / "small", "--out", out, "--set", "a=1").errors[0]


def test_profile(run, tiny):
    data = json.loads(run("profile", tiny, "--seconds", "0.5", "--json", "-d", "cpu").out)
    assert data["parameters"] == sum(parameter.numel() for parameter in load_model(tiny).parameters())
    for key in ("macs_per_second", "cpu_seconds_per_second", "wall_seconds_per_second", "peak_memory_bytes"):
        assert data[key] > 0
    assert "modules" not in data


def test_profile_table(run, tiny, monkeypatch):
    monkeypatch.setattr("unbraid.inspection.profile.measure_peak", lambda *_: None)
    shown = run("profile", tiny, "--seconds", "0.5", "--modules", "-d", "cpu").out
    assert "FFTs are not counted" in shown
    assert "MultiScaleBlock" in shown
    assert "100.0 %" in shown
    assert "between 0 and 3600" in run("profile", tiny, "--seconds", "0").errors[0]
    assert "there is no model 'nothing'" in run("profile", "nothing").errors[0]


def test_doctor(run):
    outcome = run("doctor", "--json")
    data = json.loads(outcome.out)
    assert outcome.code == 0
    assert data["ok"]
    names = {check["name"] for check in data["checks"]}
    assert {"torch", "devices", "precision", "threads", "libsndfile", "libav", "wav", "temporary files"} <= names


def test_doctor_names_the_extra_of_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor_module, "_OPTIONAL", {"a-package-that-nobody-has": "serve"})
    assert [check.text for check in doctor_module._versions() if check.status == "note"] == [
        "not installed (optional): pip install 'unbraid[serve]'"
    ]


def test_doctor_says_what_is_broken(run, monkeypatch):
    def fail():
        raise OSError("no such library")

    monkeypatch.setattr(doctor_module, "_decoders", fail)
    outcome = run("doctor")
    assert outcome.code == 1
    assert "OSError: no such library" in outcome.out
    assert "something needed is broken" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "no recipe is named: unbraid train --list shows"),
        (("singing",), "there is no recipe 'singing': unbraid train --list shows what there is"),
        (("speach",), "there is no recipe 'speach': did you mean speech"),
        (("speech",), "no data is named"),
        (("speech", "--set", "steps"), "--set steps is not a setting"),
        (("speech", "--set", "step=3"), "there is no setting 'step' here; there are: name, model"),
        (("speech", "--set", "steps=many"), "--set steps=many: 'many' is not a whole number"),
        (("speech", "--set", "steps=0"), "steps is a whole number of at least 1"),
        (("speech", "--set", "model=3"), "'model' is a group of settings: name one of model.sample_rate"),
        (("speech", "--set", "steps.more=3"), "'steps' is a single value"),
        (("speech", "--set", "precision=8"), "--set precision=8: '8' is not '32-true'"),
    ],
)
def test_train_refuses(run, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    outcome = run("train", *arguments)
    assert outcome.code == 1
    assert sentence in outcome.errors[0]


def test_train_hands_the_settings_on(run, monkeypatch, tmp_path):
    seen = {}

    def fit(config, data, out, **more):
        seen.update(config=config, out=out, **more)
        return out / "best.safetensors"

    # In the place of the module, whose import of lightning takes seconds.
    double = SimpleNamespace(fit=fit, Machines=SimpleNamespace, is_first_process=lambda: True)
    monkeypatch.setitem(sys.modules, "unbraid.training.fit", double)
    settings = ("steps=100", "optimiser.learning_rate=5e-4", "model.num_rounds=8", "model.state_space.kind=s4d-lin",
                "mixing.speed_range=0.8,1.2", "loss.floor_db=none", "model.sources=a,b,c")  # fmt: skip
    flags = [part for setting in settings for part in ("--set", setting)]
    outcome = run("train", "speech", "--data", tmp_path, *flags)
    assert outcome.code == 0
    config = seen["config"]
    assert (config.steps, config.optimiser.learning_rate, config.model.num_rounds) == (100, 5e-4, 8)
    assert config.model.state_space.kind == "s4d-lin"
    assert config.mixing.speed_range == (0.8, 1.2)
    assert config.loss.floor_db is None
    assert config.model.sources == ("a", "b", "c")
    assert str(seen["out"]) == "runs/speech"
    assert "the best weights are in runs/speech/best.safetensors" in outcome.err


def test_train_without_its_packages(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    for name in ("fit", "callbacks", "task"):
        monkeypatch.delitem(sys.modules, f"unbraid.training.{name}", raising=False)
    outcome = run("train", "speech", "--data", tmp_path)
    assert outcome.errors == ["training needs the package 'lightning': install it with pip install 'unbraid[train]'"]


def test_attention_is_shown_over_a_recording(run, tmp_path):
    model = build_model("sfc-ca-small", **TINY["sfc-ca-small"])
    save_model(model, tmp_path / "tiny.safetensors")
    talk = tmp_path / "talk.wav"
    Recording(np.random.default_rng(0).normal(0, 0.1, (1, 22_050)).astype(np.float32), 22_050).write(talk)
    outcome = run("models", "show", tmp_path / "tiny.safetensors", "--attention", talk, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "out" / "attention-vocals.png").is_file()
    outcome = run("models", "show", "s4m-tiny", "--attention", talk, "-o", tmp_path / "none")
    assert outcome.code == 1
    assert "no cross-attention" in outcome.err
    assert not (tmp_path / "none").exists()


def test_weights_of_the_sfc_authors_are_imported_and_separate_alike(run, tmp_path, golden):
    tensors = golden("sfc_wrapper_a")
    weights = {name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")}
    save_file(weights, tmp_path / "theirs.safetensors")
    settings = ["sources=a,b,c", "n_fft=256", "num_bands=16", "frames=released", "compression.inner_dim=8",
                "separator.dim=16", "separator.num_blocks=2", "separator.feedforward_dims=24,24",
                "separator.sequence.inner_dim=16"]  # fmt: skip
    flags = [part for setting in settings for part in ("--set", setting)]
    arguments = ("models", "import", tmp_path / "theirs.safetensors", "--preset", "sfc-ca-small")
    outcome = run(*arguments, "--out", tmp_path / "ours.safetensors", *flags)
    assert outcome.code == 0, outcome.err
    with torch.inference_mode():
        estimates = load_model(tmp_path / "ours.safetensors")(tensors["input"])
    assert (estimates - tensors["output"]).abs().max() < 1e-4
    outcome = run(*arguments, "--out", tmp_path / "no.safetensors")
    assert outcome.code == 1
    assert "do not fit" in outcome.err
    outcome = run(*arguments, "--out", tmp_path / "no.safetensors", "--from", "s4m-authors")
    assert outcome.code == 1
    assert "not of this kind" in outcome.err


def test_speechbrains_sepformer_is_imported_and_separates_alike(run, tmp_path, golden):
    tensors = golden("sepformer_a")
    weights = {name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")}
    save_file(weights, tmp_path / "theirs.safetensors")
    settings = ["dim=16", "num_layers=1", "chunk_frames=20", "feedforward_dim=32", "sequence.inner_dim=16",
                "sequence.num_heads=2"]  # fmt: skip
    flags = [part for setting in settings for part in ("--set", setting)]
    arguments = ("models", "import", tmp_path / "theirs.safetensors", "--preset", "sepformer")
    outcome = run(*arguments, "--out", tmp_path / "ours.safetensors", *flags)
    assert outcome.code == 0, outcome.err
    with torch.inference_mode():
        estimates = load_model(tmp_path / "ours.safetensors")(tensors["input"].unsqueeze(1))
    assert (estimates.squeeze(2).movedim(1, 2) - tensors["output"]).abs().max() < 1e-4
    outcome = run(*arguments, "--out", tmp_path / "no.safetensors")
    assert outcome.code == 1
    assert "do not fit" in outcome.err
