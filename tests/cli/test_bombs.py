"""What would run a program, planted wherever a model is read from, is refused and stays unexecuted."""

import pickle

import numpy as np
import pytest
import soundfile
import torch
import yaml

from tests.weights.hub_server import Hub
from tests.weights.published import Bomb, write_bs_locoformer, write_sfc, write_speechbrain
from tests.weights.pymss_networks import SETTINGS

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

YAML_BOMB = "models: !!python/object/apply:os.system ['touch {mark}']\n"


def _sfc(folder, mark):
    write_sfc(folder)
    torch.save({"state_dict": Bomb(mark)}, folder / "checkpoints/model.pth")


def _average(folder, mark):
    write_sfc(folder, checkpoints=[-0.1, 0.0, 0.1])
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": Bomb(mark)}, folder / "checkpoints/epoch1.ckpt")


def _locoformer(folder, mark):
    write_bs_locoformer(folder)
    torch.save(Bomb(mark), folder / "checkpoints/model.pth")


def _speechbrain(folder, mark):
    write_speechbrain(folder, bomb=mark)
    torch.save(Bomb(mark), folder / "decoder.ckpt")


def _bytesep(folder, mark):
    folder.mkdir()
    torch.save({"model": Bomb(mark)}, folder / "resunet143_ismir2021_vocals_8.9dB_350k_steps.pth")


def _roformer(folder, mark):
    folder.mkdir()
    (folder / "vocals.yaml").write_text(yaml.dump(SETTINGS["bs_roformer"]))
    torch.save({"state_dict": Bomb(mark)}, folder / "vocals.ckpt")


def _old_pickle(folder, mark):
    folder.mkdir()
    (folder / "vocals.yaml").write_text(yaml.dump(SETTINGS["bs_roformer"]))
    (folder / "vocals.ckpt").write_bytes(pickle.dumps(Bomb(mark)))


def _hydra(folder, mark):
    write_sfc(folder)
    (folder / "merged_config.yaml").write_text(YAML_BOMB.format(mark=mark))


def _bag(folder, mark):
    folder.mkdir()
    (folder / "htdemucs.yaml").write_text(YAML_BOMB.format(mark=mark))
    (folder / "955717e8.safetensors").write_bytes(b"x")


PLACES = {
    "checkpoint of SFC": _sfc,
    "one of several checkpoints": _average,
    "checkpoint of BS-Locoformer": _locoformer,
    "part of SpeechBrain's": _speechbrain,
    "file of bytesep": _bytesep,
    "weights beside settings": _roformer,
    "an old pickle": _old_pickle,
    "settings of Hydra": _hydra,
    "settings of a bag": _bag,
}


@pytest.fixture
def talk(tmp_path, monkeypatch):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "talk.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    return tmp_path / "talk.wav"


@pytest.mark.parametrize("place", list(PLACES))
def test_no_command_runs_what_a_model_holds(run, talk, tmp_path, place):
    model, mark = tmp_path / "model", tmp_path / "bomb"
    PLACES[place](model, mark)
    for command in (
        ("separate", talk, "-n", model, "-o", tmp_path / "out"),
        ("models", "import", model, "--out", tmp_path / "own.safetensors"),
        ("models", "show", model),
    ):
        done = run(*command)
        assert done.code == 1, command
        assert len(done.errors) == 1, done.err
    assert not mark.exists()
    assert not (tmp_path / "own.safetensors").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_nothing_of_the_hub_is_run(run, talk, tmp_path, monkeypatch):
    hub, mark = Hub(), tmp_path / "bomb"
    _speechbrain(tmp_path / "folder", mark)
    hub.repositories["owner/name"] = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    try:
        for command in (("separate", talk, "-n", "hf:owner/name"), ("models", "download", "hf:owner/name")):
            done = run(*command)
            assert done.code == 1
            assert "holds more than weights" in done.err
    finally:
        hub.close()
    assert not mark.exists()
