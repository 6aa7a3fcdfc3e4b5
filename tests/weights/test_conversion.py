import shutil

import pytest
import torch

from tests.weights.published import Bomb, golden, write_bs_locoformer, write_sfc, write_speechbrain
from unbraid.errors import WeightsError
from unbraid.weights.published.folders import find_model, find_models
from unbraid.weights.store import inspect_model, load_model

pytest.importorskip("yaml", reason="needs the extra hub")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_of_the_authors_of_sfc_gives_what_their_code_gives(tmp_path):
    tensors = write_sfc(tmp_path / "small")
    model = load_model(str(tmp_path / "small"))
    with torch.inference_mode():
        assert (model(tensors["input"]) - tensors["output"]).abs().max() < 1e-4
    stored = inspect_model(str(tmp_path / "small"))
    assert stored.name == "small"
    assert stored.facts["imported_from"] == "sfc-authors"
    assert stored.config.frames == "released"


@pytest.mark.parametrize("name", ["sfc_ca_a", "sfc_ca_adaptive_a", "sfc_ca_masked_a", "sfc_mamba_a", "bs_a"])
def test_every_kind_of_sfc_is_told_by_its_weights_and_settings(tmp_path, name):
    write_sfc(tmp_path / name, name)
    config = load_model(str(tmp_path / name)).config
    _, settings, _ = golden(name)
    assert config.num_bands == settings["encoder"]["n_bands"]
    assert config.fft_samples == settings["encoder"]["n_fft"]
    assert len(config.sources) == settings["decoder"]["n_src"]
    assert config.separator.feedforward_dims == tuple(settings["separator"]["ffn_hidden_dim"])


def test_several_checkpoints_are_averaged_without_the_last(tmp_path):
    write_sfc(tmp_path / "one")
    write_sfc(tmp_path / "three", checkpoints=[-0.5, 0.0, 0.5])
    one, three = (load_model(str(tmp_path / name)).state_dict() for name in ("one", "three"))
    assert max((one[key] - three[key]).abs().max() for key in one) < 1e-6


@pytest.mark.parametrize(
    ("name", "sources", "positions"),
    [
        ("bs_locoformer_a", ("bass", "drums", "vocals", "other"), "none"),
        ("bs_locoformer_rope_a", ("source1", "source2"), "rotary"),
    ],
)
def test_a_folder_of_bs_locoformer_gives_what_its_code_gives(tmp_path, name, sources, positions):
    tensors = write_bs_locoformer(tmp_path / name, name)
    model = load_model(str(tmp_path / name))
    with torch.inference_mode():
        assert (model(tensors["input"]) - tensors["output"]).abs().max() < 1e-6
    assert model.spec.sources == sources
    assert model.spec.sample_rate == 44_100
    assert model.config.separator.sequence.positions == positions
    assert inspect_model(str(tmp_path / name)).facts["imported_from"] == "bs-locoformer"


def test_a_bs_locoformer_that_is_built_otherwise_is_refused(tmp_path):
    write_bs_locoformer(tmp_path / "model")
    config = tmp_path / "model/merged_config.yaml"
    config.write_text(config.read_text().replace("tf_order: ft", "tf_order: tf"))
    with pytest.raises(WeightsError, match="has tf_order 'tf'; only 'ft' is known here"):
        load_model(str(tmp_path / "model"))


def test_a_folder_of_speechbrain_gives_what_speechbrain_gives(tmp_path):
    tensors = write_speechbrain(tmp_path / "sepformer", bomb=tmp_path / "bomb")
    model = load_model(str(tmp_path / "sepformer"))
    mixture = tensors["input"]
    with torch.inference_mode():
        estimates = model(mixture.unsqueeze(1))[:, :, 0]
    expected = tensors["output"]
    if expected.shape != estimates.shape:
        expected = expected.transpose(1, 2)
    assert (estimates - expected).abs().max() < 1e-6
    assert model.spec.sample_rate == 8000
    assert not (tmp_path / "bomb").exists()


def test_a_file_of_bytesep_is_adapted_and_its_other_network_refused(tmp_path):
    weights, _, _ = golden("resunet_decouple_a")
    for name in list(weights):
        if name.startswith("bn0.") and weights[name].dim():
            weights[name] = torch.rand(1025)
        elif name.startswith(("stft.", "istft.")):
            weights.pop(name)
    file = tmp_path / "resunet143_ismir2021_vocals_8.9dB_350k_steps.pth"
    torch.save({"model": weights, "iteration": 350_000}, file)
    model = load_model(str(file))
    assert model.spec.sources == ("vocals",)
    assert model.spec.level == "as-given"
    other = tmp_path / "resunet143_subbtandtime_vocals_8.8dB_350k_steps.pth"
    shutil.copy(file, other)
    with pytest.raises(WeightsError, match="sub-band network"):
        load_model(str(other))


def test_it_is_converted_once(tmp_path, cache):
    write_sfc(tmp_path / "small")
    first = inspect_model(str(tmp_path / "small")).path
    stamp = first.stat().st_mtime_ns
    assert inspect_model(str(tmp_path / "small")).path == first
    assert first.stat().st_mtime_ns == stamp
    assert first.is_relative_to(cache)


@pytest.mark.parametrize("place", ["sfc", "speechbrain", "bytesep"])
def test_a_pickle_bomb_stays_unexecuted(tmp_path, place):
    bomb = tmp_path / "bomb"
    folder = tmp_path / place
    match place:
        case "sfc":
            write_sfc(folder)
            torch.save({"state_dict": Bomb(bomb)}, folder / "checkpoints/model.pth")
        case "speechbrain":
            write_speechbrain(folder, bomb=bomb)
            torch.save(Bomb(bomb), folder / "masknet.ckpt")
        case _:
            folder.mkdir()
            torch.save({"model": Bomb(bomb)}, folder / "resunet143_ismir2021_vocals.pth")
    with pytest.raises(WeightsError, match="holds more than weights"):
        load_model(str(folder))
    assert not bomb.exists()


def test_settings_that_build_things_are_refused(tmp_path):
    write_sfc(tmp_path / "sfc")
    bomb = tmp_path / "bomb"
    (tmp_path / "sfc/merged_config.yaml").write_text(f"task: !!python/object/apply:os.system ['touch {bomb}']\n")
    with pytest.raises(WeightsError, match="more than plain settings"):
        load_model(str(tmp_path / "sfc"))
    assert not bomb.exists()


def test_weights_that_say_nothing_are_refused_with_the_way_on(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="unbraid models import"):
        load_model(str(tmp_path / "model.pth"))


def test_an_empty_folder_says_what_it_holds(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme.txt").write_text("hello")
    with pytest.raises(WeightsError, match=r"no model that is known here; its files are readme\.txt"):
        load_model(str(tmp_path / "empty"))


HUB = [
    "README.md",
    "musdb18hq/small/merged_config.yaml",
    "musdb18hq/small/checkpoints/model.pth",
    "musdb18hq/medium.x/merged_config.yaml",
    "musdb18hq/medium.x/checkpoints/epoch1.ckpt",
    "musdb18hq/medium.x/checkpoints/epoch2.ckpt",
    "musdb18hq/medium.x/checkpoints/last.ckpt",
    "dnr/small/.hydra/config.yaml",
    "dnr/small/checkpoints/a.ckpt",
]


def test_models_of_a_repository_are_told_by_their_files():
    models = {model.place: model for model in find_models(HUB)}
    assert set(models) == {"musdb18hq/small", "musdb18hq/medium.x", "dnr/small"}
    assert models["musdb18hq/medium.x"].files == (
        "musdb18hq/medium.x/checkpoints/epoch1.ckpt",
        "musdb18hq/medium.x/checkpoints/epoch2.ckpt",
        "musdb18hq/medium.x/merged_config.yaml",
    )
    assert models["dnr/small"].files == ("dnr/small/.hydra/config.yaml", "dnr/small/checkpoints/a.ckpt")


@pytest.mark.parametrize(
    ("wanted", "place"),
    [("musdb18hq/small", "musdb18hq/small"), ("musdb18hq/medium*", "musdb18hq/medium.x"), ("dnr", "dnr/small")],
)
def test_a_place_or_a_pattern_picks_one(wanted, place):
    assert find_model(HUB, wanted, "hf:a/b").place == place


def test_what_fits_not_or_twice_is_said_in_one_sentence():
    with pytest.raises(WeightsError, match=r"hf:a/b holds 3 models, name one of them .*dnr/small"):
        find_model(HUB, None, "hf:a/b")
    with pytest.raises(WeightsError, match=r"no model 'large'; its models are at .*dnr/small"):
        find_model(HUB, "large", "hf:a/b")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["encoder.ckpt", "masknet.ckpt", "decoder.ckpt", "hyperparams.yaml"], "speechbrain"),
        (["htdemucs.yaml", "955717e8.safetensors"], "demucs"),
        (["htdemucs_ft.yaml", "f7e0c4bc.safetensors", "d12395a8.safetensors"], "demucs"),
        (["MelBandRoformer.ckpt", "config.yaml"], "settings"),
        (["model.safetensors", "README.md"], "weights"),
    ],
)
def test_layouts_are_told_apart(files, kind):
    (model,) = find_models(files)
    assert model.kind == kind


def test_a_converted_model_that_was_cut_in_the_cache_is_made_again(cache, tmp_path):
    write_speechbrain(tmp_path / "model")
    before = load_model(str(tmp_path / "model")).state_dict()
    (stored,) = (cache / "models").glob("*.safetensors")
    stored.write_bytes(stored.read_bytes()[:1000])
    again = load_model(str(tmp_path / "model")).state_dict()
    assert all(torch.equal(before[name], again[name]) for name in before)
