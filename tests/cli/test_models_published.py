import numpy as np
import pytest
import soundfile

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

from tests.weights.hub_server import Hub
from tests.weights.published import write_speechbrain


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "unbraid"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    write_speechbrain(tmp_path / "folder")
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    server.repositories["speechbrain/sepformer-wsj02mix"] = files
    yield server
    server.close()


def test_downloading_shows_the_licence_once_and_where_the_model_is(hub, run):
    first = run("models", "download", "sepformer-wsj0-2mix")
    assert first.code == 0
    assert "licence: Apache-2.0" in first.err
    again = run("models", "download", "sepformer-wsj0-2mix", "--offline")
    assert again.err == ""
    assert run("models", "where", "sepformer-wsj0-2mix").out.splitlines()[0] == first.out.strip()
    assert "MiB freed" in run("models", "remove", "sepformer-wsj0-2mix").err
    missing = run("models", "where", "sepformer-wsj0-2mix")
    assert missing.code == 1
    assert "unbraid models download" in missing.err


def test_without_a_licence_nothing_is_fetched_unasked(hub, run):
    done = run("models", "download", "bs-roformer")
    assert done.code == 1
    assert "state no licence" in done.err
    assert "unbraid models download --yes bs-roformer" in done.err
    done = run("profile", "bs-roformer")
    assert "state no licence" in done.err
    assert hub.requests == []


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(hub, run, tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.zeros(800), 8000)
    done = run("separate", tmp_path / "talk.wav", "-n", "music-besst")
    assert "did you mean music-best" in done.errors[0]


def test_separating_with_a_published_name_fetches_it(hub, run, tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    done = run(
        "separate", tmp_path / "talk.wav", "-n", "sepformer-wsj0-2mix", "-o", tmp_path / "out", "--segment", "0.5"
    )
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out/sepformer-wsj0-2mix").rglob("*.wav")) == [
        "speaker1.wav",
        "speaker2.wav",
    ]


def test_pushing_writes_model_and_card(hub, run, monkeypatch):
    from huggingface_hub import HfApi

    pushed = {}
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **settings: pushed.update(name=name))

    def upload(self, *, repo_id, folder_path, **settings):
        pushed["files"] = sorted(path.name for path in folder_path.iterdir())
        return "https://hub/me/mine"

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    done = run("models", "push", "speech", "hf:me/mine")
    assert done.out.strip() == "https://hub/me/mine"
    assert pushed == {"name": "me/mine", "files": ["README.md", "config.json", "model.safetensors"]}
