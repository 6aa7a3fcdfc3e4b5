"""Networks of other packages learn on, whole or through adapters, and become files of ours."""

import warnings
from dataclasses import replace

import pytest
import torch

from tests.training.tiny import CONFIG
from tests.weights.published import write_demucs, write_settings
from tests.weights.pymss_networks import SETTINGS, SOURCES, package_network
from unbraid.recipes.smoke import make_data
from unbraid.training.config import InitConfig, LoraConfig, LossConfig, LossTerm, StemMixing
from unbraid.training.fit import fit
from unbraid.weights.store import inspect_model, load_model

pytestmark = pytest.mark.zoo
demucs = pytest.importorskip("demucs.htdemucs", reason="needs the extra zoo")

STEMS = replace(
    CONFIG,
    mixing=StemMixing(segment_seconds=0.5),
    loss=LossConfig(terms=(LossTerm(name="l1"),)),
    steps=2,
    batch_size=1,
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def htdemucs(tmp_path):
    torch.manual_seed(0)
    settings = {"channels": 8, "t_layers": 1, "t_heads": 2, "bottom_channels": 16, "samplerate": 8000, "segment": 1}
    write_demucs(tmp_path / "htdemucs", [demucs.HTDemucs(sources=SOURCES, **settings)])
    return str(tmp_path / "htdemucs")


def songs(init, tmp_path):
    """A data set of seconds with the stems of that model."""
    return make_data(replace(STEMS, model=inspect_model(init).config), tmp_path / "songs")


def test_htdemucs_learns_on_and_resumes_without_being_named(htdemucs, tmp_path, capsys):
    data, out = songs(htdemucs, tmp_path), tmp_path / "run"
    before = load_model(htdemucs).state_dict()
    after = load_model(fit(STEMS, data, out, init=htdemucs))
    assert after.config == inspect_model(htdemucs).config
    assert any(not torch.equal(before[name], tensor) for name, tensor in after.state_dict().items())
    said = " ".join(capsys.readouterr().err.split())
    assert "not that of the recipe" in said
    assert "kept 100% of the weights" in said
    again = load_model(fit(replace(STEMS, steps=3), data, out, resume=True))
    assert again.config == after.config


def test_adapters_on_htdemucs_all_learn_and_are_merged(htdemucs, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = fit(replace(STEMS, lora=LoraConfig(rank=2)), songs(htdemucs, tmp_path), tmp_path / "run", init=htdemucs)
    before, after = load_model(htdemucs).state_dict(), load_model(path).state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layers = {name for name in before if name.endswith((".linear1.weight", ".linear2.weight"))}
    assert changed == layers
    assert inspect_model(path).architecture == "demucs"


def test_a_vocal_roformer_learns_through_adapters(tmp_path):
    settings = {**SETTINGS["bs_roformer"], "audio": {**SETTINGS["bs_roformer"]["audio"], "chunk_size": 4096}}
    folder = str(write_settings(tmp_path / "roformer", package_network("bs_roformer", tmp_path), settings))
    config = replace(STEMS, lora=LoraConfig(rank=2, targets=("to_qkv",)))
    path = fit(config, songs(folder, tmp_path), tmp_path / "run", init=folder)
    before, after = load_model(folder).state_dict(), load_model(path).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("to_qkv" in name for name in changed)


def test_the_network_of_a_model_of_ours_is_taken_only_when_asked(tmp_path, corpus_root):
    from unbraid.models.catalog import build_model
    from unbraid.weights.store import save_model

    wider = replace(CONFIG.model, hidden_dim=40)
    path = str(save_model(build_model(wider), tmp_path / "wider.safetensors"))
    config = replace(CONFIG, steps=1, init=InitConfig(network="theirs"))
    assert inspect_model(fit(config, corpus_root, tmp_path / "theirs", init=path)).config == wider
    config = replace(config, init=InitConfig())
    assert inspect_model(fit(config, corpus_root, tmp_path / "ours", init=path)).config == CONFIG.model
