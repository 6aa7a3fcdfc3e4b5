import json
import subprocess
import sys

import pytest
import torch

from tests.conftest import TINY
from tests.weights.hub_server import Hub
from tests.weights.published import write_speechbrain
from unbraid.errors import DownloadError, UnknownNameError, WeightsError
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel
from unbraid.models.sepformer.model import SepFormer
from unbraid.weights.published import models as published
from unbraid.weights.published.lock import lock_path
from unbraid.weights.published.registry import ALIASES, find_published, published_models
from unbraid.weights.sharing import write_repository
from unbraid.weights.store import inspect_model, load_model, save_model

pytest.importorskip("huggingface_hub", reason="needs the extra hub")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "unbraid"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.close()


@pytest.fixture
def sepformer(hub, tmp_path):
    """SpeechBrain's model as the hub would hold it."""
    write_speechbrain(tmp_path / "folder")
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    hub.repositories["speechbrain/sepformer-wsj02mix"] = {**files, "README.md": b"hello"}
    return hub


def test_a_published_model_is_fetched_by_name_and_then_here_without_a_network(sepformer, monkeypatch):
    assert published.places("sepformer-wsj0-2mix") == []
    model = load_model("sepformer-wsj0-2mix")
    assert isinstance(model, SepFormer)
    stored = inspect_model("sepformer-wsj0-2mix")
    assert stored.name == "sepformer-wsj0-2mix"
    assert stored.facts["licence"] == "Apache-2.0"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sepformer.requests.clear()
    load_model("sepformer-wsj0-2mix")
    assert sepformer.requests == []
    offers = {offer.model.name: offer.state for offer in published.list_offers("speech")}
    assert offers["sepformer-wsj0-2mix"] == "downloaded"
    assert offers["sepformer-whamr"] == "can be downloaded"
    assert "htdemucs" not in offers


def test_removing_frees_the_space_and_the_lock(sepformer, tmp_path):
    load_model("sepformer-wsj0-2mix")
    assert len(published.places("sepformer-wsj0-2mix")) == 5
    assert published.remove("sepformer-wsj0-2mix") > 0
    assert published.places("sepformer-wsj0-2mix") == []
    assert json.loads(lock_path().read_text())["sources"] == {}
    with pytest.raises(UnknownNameError, match="nothing was downloaded"):
        published.remove("sepformer-wsj0-2mix")


def test_without_network_the_sentence_names_the_model(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="hf:adefossez/HTDemucs"):
        load_model("htdemucs")


def test_what_nobody_publishes_is_answered_with_what_there_is(hub):
    with pytest.raises(UnknownNameError, match="htdemucs"):
        published.download("htdemux")


def test_a_repository_that_holds_something_else_is_said_in_one_sentence(hub):
    hub.repositories["owner/name"] = {"README.md": b"x", "data.csv": b"y"}
    with pytest.raises(
        WeightsError, match=r"hf:owner/name holds no model that is known here; its files are README\.md"
    ):
        load_model("hf:owner/name")


def test_a_model_of_ours_goes_to_the_hub_and_comes_back(hub, tmp_path):
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    path = save_model(model, tmp_path / "mine.safetensors", facts={"licence": "CC-BY-4.0"})
    write_repository(path, tmp_path / "repository")
    hub.repositories["me/mine"] = {file.name: file.read_bytes() for file in (tmp_path / "repository").iterdir()}
    mixture = torch.randn(1, 1, 4000)
    with torch.inference_mode():
        assert torch.equal(load_model("hf:me/mine")(mixture), model(mixture))
        assert torch.equal(SeparationModel.from_pretrained("me/mine")(mixture), model(mixture))
    card = (tmp_path / "repository/README.md").read_text()
    assert card.startswith("---\nlibrary_name: unbraid")
    assert "license: cc-by-4.0" in card


def test_models_are_saved_and_loaded_as_the_hub_does(tmp_path, monkeypatch):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    model.save_pretrained(tmp_path / "mine")
    loaded = type(model).from_pretrained(tmp_path / "mine")
    mixture = torch.randn(1, 1, 4000)
    with torch.inference_mode():
        assert torch.equal(loaded(mixture), model(mixture))
    with pytest.raises(TypeError, match="holds a S4M"):
        SepFormer.from_pretrained(tmp_path / "mine")


def test_the_registry_is_whole():
    for model in published_models().values():
        assert model.references
        assert model.rate >= 8000
        assert model.channels in (1, 2)
        assert len(set(model.stems)) == len(model.stems)
    for alias in ALIASES:
        assert find_published(alias) is not None


def test_listing_needs_no_torch():
    program = "import sys, unbraid.weights.published.models as p; p.list_offers(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
