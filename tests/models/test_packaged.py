"""Networks of demucs and pymss-core behind our contract, against the packages themselves."""

import json
import os
from fractions import Fraction

import pytest
import torch

from tests.weights.published import Bomb, write_demucs, write_settings
from tests.weights.pymss_networks import BANDS, ROFORMER, SETTINGS, package_network
from unbraid.errors import ConfigError, UnbraidError, WeightsError
from unbraid.models.catalog import build_model
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.models.packaged.pymss import PymssConfig
from unbraid.weights.store import inspect_model, load_model, save_model

pytestmark = pytest.mark.zoo
demucs = pytest.importorskip("demucs.htdemucs", reason="needs the extra zoo")
pymss_core = pytest.importorskip("pymss_core", reason="needs the extra zoo")

SECONDS = 10
SOURCES = ["drums", "bass", "other", "vocals"]
TINY = {"channels": 8, "depth": 4, "t_layers": 1, "t_heads": 2, "bottom_channels": 16}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))


def tiny_htdemucs(seed=0, segment=Fraction(39, 5)):
    torch.manual_seed(seed)
    return demucs.HTDemucs(sources=SOURCES, samplerate=8000, segment=segment, **TINY).eval()


def noise(rate, seconds=SECONDS, channels=2):
    return torch.randn(1, channels, rate * seconds, generator=torch.Generator().manual_seed(1))


def test_demucs_gives_what_its_own_package_gives(tmp_path):
    from demucs.apply import apply_model

    network, mixture = tiny_htdemucs(), noise(8000)
    write_demucs(tmp_path / "tiny", [network])
    model = load_model(str(tmp_path / "tiny"))
    expected = apply_model(network, mixture, shifts=0, split=True, overlap=0.25)
    with torch.inference_mode():
        assert (model(mixture) - expected).abs().max() < 1e-4
    assert model.spec.level == "whole-file"
    assert model.spec.chunk_seconds == 7.8


def test_a_weighted_bag_is_one_model(tmp_path):
    from demucs.apply import BagOfModels, apply_model

    networks, mixture = [tiny_htdemucs(seed) for seed in range(2)], noise(8000)
    weights = [[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 1.0]]
    write_demucs(tmp_path / "bag", networks, weights=weights)
    model = load_model(str(tmp_path / "bag"))
    expected = apply_model(BagOfModels(networks, weights), mixture, shifts=0, split=True, overlap=0.25)
    with torch.inference_mode():
        assert (model(mixture) - expected).abs().max() < 1e-4
    assert inspect_model(str(tmp_path / "bag")).architecture == "ensemble"


def test_half_precision_stays_half_on_the_disk(tmp_path):
    write_demucs(tmp_path / "full", [tiny_htdemucs()])
    write_demucs(tmp_path / "half", [tiny_htdemucs()], half=True)
    full, half = (inspect_model(str(tmp_path / name)).path.stat().st_size for name in ("full", "half"))
    assert half < 0.6 * full


@pytest.mark.parametrize("seconds", [1e-3, 0.5, 9.3])
def test_any_length_is_taken(seconds):
    model = build_model(DemucsConfig(sample_rate=8000, segment=(2, 1), arguments=dict(TINY)))
    mixture = noise(8000)[..., : max(1, int(seconds * 8000))]
    with torch.inference_mode():
        assert model(mixture).shape == (1, 4, *mixture.shape[1:])


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_networks_of_pymss_core_give_what_the_package_gives(tmp_path, kind):
    network = package_network(kind, tmp_path)
    write_settings(tmp_path / kind, network, SETTINGS[kind])
    model = load_model(str(tmp_path / kind))
    spec = model.spec
    length = model.config.chunk_samples
    mixture = torch.randn(1, spec.num_channels, length, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(mixture)
        estimates = model(mixture)
    targets = len(model.config.targets)
    expected = expected.reshape(1, targets, spec.num_channels, -1)
    assert length >= 9.9 * spec.sample_rate
    assert (estimates[:, :targets] - expected).abs().max() < 1e-4
    if model.config.rest:
        assert torch.allclose(estimates.sum(dim=1), mixture, atol=1e-5)


@pytest.mark.parametrize(("normalize", "level"), [(None, "as-given"), (False, "as-given"), (True, "whole-file")])
def test_settings_say_whether_the_whole_recording_is_scaled(tmp_path, normalize, level):
    network = package_network("scnet", tmp_path)
    inference = {} if normalize is None else {"inference": {"normalize": normalize}}
    write_settings(tmp_path / "scnet", network, {**SETTINGS["scnet"], **inference})
    assert load_model(str(tmp_path / "scnet")).spec.level == level


def test_a_single_target_leaves_the_rest(tmp_path):
    network = package_network("bs_roformer", tmp_path)
    write_settings(tmp_path / "vocal", network, SETTINGS["bs_roformer"])
    assert load_model(str(tmp_path / "vocal")).spec.sources == ("vocals", "other")


def test_they_are_saved_as_files_of_ours(tmp_path):
    for config in (
        DemucsConfig(sample_rate=8000, segment=(2, 1), arguments=dict(TINY)),
        PymssConfig(sample_rate=8000, chunk_samples=8000, arguments={**ROFORMER, **BANDS}),
    ):
        model = build_model(config)
        loaded = load_model(save_model(model, tmp_path / "model.safetensors"))
        mixture = noise(8000, 1)
        with torch.inference_mode():
            assert torch.equal(loaded(mixture), model(mixture))


def header(klass="demucs.htdemucs.HTDemucs", kwargs=None):
    return {"klass": klass, "args": json.dumps([SOURCES]), "kwargs": json.dumps(kwargs or {})}


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        (header("os.system"), r"'os\.system' as its network; networks of demucs are"),
        (header("demucs.htdemucs.os"), "as its network"),
        (header(kwargs={"command": "touch bomb"}), "no argument 'command'"),
        (header(kwargs={"channels": "touch bomb"}), "no number in a sane range"),
        (header(kwargs={"channels": 1e12}), "no number in a sane range"),
        (header(kwargs={"depth": 1000}), "'depth' lies between"),
        (header(kwargs={"t_emb": "__import__('os')"}), "'t_emb' is one of"),
    ],
)
def test_a_header_that_names_anything_else_is_refused(tmp_path, monkeypatch, metadata, sentence):
    from safetensors.torch import save_file

    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    save_file({"weight": torch.zeros(1)}, tmp_path / "00000001.safetensors", metadata)
    (tmp_path / "bag.yaml").write_text("models: ['00000001']\n")
    with pytest.raises(UnbraidError, match=sentence):
        load_model(str(tmp_path / "00000001.safetensors"))
    with pytest.raises(UnbraidError, match=sentence):
        load_model(str(tmp_path))
    assert not ran


def test_a_pickle_bomb_beside_settings_stays_unexecuted(tmp_path):
    network = package_network("bs_roformer", tmp_path)
    folder = write_settings(tmp_path / "vocal", network, SETTINGS["bs_roformer"])
    torch.save({"state_dict": Bomb(tmp_path / "bomb")}, folder / "model.ckpt")
    with pytest.raises(WeightsError, match="holds more than weights"):
        load_model(str(folder))
    assert not (tmp_path / "bomb").exists()


def test_a_bag_without_one_of_its_members_is_named(tmp_path):
    write_demucs(tmp_path / "bag", [tiny_htdemucs(), tiny_htdemucs(1)])
    (tmp_path / "bag/00000002.safetensors").unlink()
    with pytest.raises(WeightsError, match="names the member 00000002"):
        load_model(str(tmp_path / "bag"))


@pytest.mark.parametrize(
    "arguments", [{"window_fn": "hann_window"}, {"dim": "16"}, {"depth": 0}, {"freqs_per_bands": [["a"]]}]
)
def test_arguments_are_checked_from_python_too(arguments):
    with pytest.raises(ConfigError):
        PymssConfig(arguments={"dim": 16, "depth": 1, **arguments})
