"""Every layout of other projects, with random weights, from a folder to files."""

import numpy as np
import pytest
import soundfile
import torch

from tests.weights.published import (
    golden,
    write_bs_locoformer,
    write_demucs,
    write_settings,
    write_sfc,
    write_speechbrain,
)
from tests.weights.pymss_networks import SETTINGS, package_network
from unbraid.weights.store import inspect_model

pytest.importorskip("yaml", reason="needs the extra hub")


@pytest.fixture
def separate_folder(run, tmp_path, monkeypatch):
    """The stems that a folder's model gives for a second of noise; it becomes one file of ours besides."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)

    def call(folder):
        done = run("separate", tmp_path / "in.wav", "-n", folder, "-o", tmp_path / "out", "-d", "cpu")
        assert done.code == 0, done.err
        stems = {path.stem: soundfile.read(path)[0] for path in (tmp_path / "out").rglob("*.wav")}
        assert all(stem.shape == (8000, 2) and np.isfinite(stem).all() for stem in stems.values())
        done = run("models", "import", folder, "--out", tmp_path / "own.safetensors")
        assert done.code == 0, done.err
        own, same = inspect_model(tmp_path / "own.safetensors"), inspect_model(str(folder))
        assert (own.config, own.sha256) == (same.config, same.sha256)
        return sorted(stems)

    return call


def test_sfc(separate_folder, tmp_path):
    write_sfc(tmp_path / "model")
    assert separate_folder(tmp_path / "model") == ["dialogue", "effects", "music"]


def test_bs_locoformer(separate_folder, tmp_path):
    write_bs_locoformer(tmp_path / "model")
    assert separate_folder(tmp_path / "model") == ["bass", "drums", "other", "vocals"]


def test_speechbrain(separate_folder, tmp_path):
    write_speechbrain(tmp_path / "model")
    assert separate_folder(tmp_path / "model") == ["speaker1", "speaker2"]


def test_bytesep(separate_folder, tmp_path):
    weights, _, _ = golden("resunet_decouple_a")
    for name in list(weights):
        if name.startswith("bn0.") and weights[name].dim():
            weights[name] = torch.rand(1025)
        elif name.startswith(("stft.", "istft.")):
            weights.pop(name)
    (tmp_path / "model").mkdir()
    torch.save({"model": weights}, tmp_path / "model/resunet143_ismir2021_vocals_8.9dB_350k_steps.pth")
    assert separate_folder(tmp_path / "model") == ["vocals"]


@pytest.mark.zoo
def test_a_bag_of_demucs(separate_folder, tmp_path):
    demucs = pytest.importorskip("demucs.htdemucs", reason="needs the extra zoo")
    settings = {"channels": 8, "t_layers": 1, "t_heads": 2, "bottom_channels": 16, "samplerate": 8000, "segment": 1}
    networks = [demucs.HTDemucs(sources=["drums", "bass", "other", "vocals"], **settings) for _ in range(2)]
    write_demucs(tmp_path / "model", networks, weights=[[1, 0, 1, 0], [0, 1, 0, 1]])
    assert separate_folder(tmp_path / "model") == ["bass", "drums", "other", "vocals"]


STEMS = {
    "bs_roformer": ["other", "vocals"],
    "mel_band_roformer": ["other", "vocals"],
    "scnet": ["bass", "drums", "other", "vocals"],
    "mdx23c": ["bass", "drums", "other", "vocals"],
    "bandit": ["music", "sfx", "speech"],
    "bandit_v2": ["music", "sfx", "speech"],
}


@pytest.mark.zoo
@pytest.mark.parametrize("kind", list(SETTINGS))
def test_networks_of_pymss_core(separate_folder, tmp_path, kind):
    write_settings(tmp_path / "model", package_network(kind, tmp_path), SETTINGS[kind])
    assert separate_folder(tmp_path / "model") == STEMS[kind]
