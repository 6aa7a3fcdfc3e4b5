"""Every layout of other projects, with random weights, from a folder to files."""

import numpy as np
import pytest
import soundfile
import torch

from tests.weights.published import golden, write_demucs, write_settings, write_sfc, write_speechbrain

pytest.importorskip("yaml", reason="needs the extra hub")


@pytest.fixture
def separate_folder(run, tmp_path, monkeypatch):
    """The stems that a folder's model gives for a second of noise."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)

    def call(folder):
        done = run("separate", tmp_path / "in.wav", "-n", folder, "-o", tmp_path / "out", "-d", "cpu")
        assert done.code == 0, done.err
        stems = {path.stem: soundfile.read(path)[0] for path in (tmp_path / "out").rglob("*.wav")}
        assert all(stem.shape == (8000, 2) and np.isfinite(stem).all() for stem in stems.values())
        return sorted(stems)

    return call


def test_sfc(separate_folder, tmp_path):
    write_sfc(tmp_path / "model")
    assert separate_folder(tmp_path / "model") == ["dialogue", "effects", "music"]


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


@pytest.mark.zoo
def test_a_vocal_roformer(separate_folder, tmp_path):
    pymss_core = pytest.importorskip("pymss_core.modules.bs_roformer", reason="needs the extra zoo")
    model = {"dim": 16, "depth": 1, "stereo": True, "num_stems": 1, "dim_head": 8, "heads": 2, "stft_n_fft": 512}
    model |= {"stft_hop_length": 128, "stft_win_length": 512, "freqs_per_bands": (1,) * 57 + (50,) * 4}
    network = pymss_core.BSRoformer(**model)
    settings = {
        "audio": {"chunk_size": 8000, "sample_rate": 8000},
        "model": model,
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
    }
    write_settings(tmp_path / "model", network, settings)
    assert separate_folder(tmp_path / "model") == ["other", "vocals"]
