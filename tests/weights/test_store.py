"""Weights files: what they carry, and that damaged or foreign ones are refused with a sentence."""

import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.conftest import TINY
from unbraid.errors import UnknownNameError, WeightsError
from unbraid.models.catalog import build_model
from unbraid.weights import store
from unbraid.weights.adapters import s4m_authors
from unbraid.weights.store import inspect_model, list_models, load_model, save_model


@pytest.fixture
def path(tmp_path):
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    return save_model(model, tmp_path / "tiny.safetensors", name="tiny", facts={"steps": 3})


def rewrite(path, change):
    """Writes the file again with a changed header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["unbraid"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, metadata={"unbraid": json.dumps(header)})


def test_the_header_is_read_without_the_weights(path):
    stored = inspect_model(path)
    assert (stored.name, stored.architecture, stored.facts) == ("tiny", "s4m", {"steps": 3})
    assert stored.config.hidden_dim == 16


def test_half_precision_halves_the_file_and_loads_as_float32(path, tmp_path):
    model = load_model(path)
    half = save_model(model, tmp_path / "half.safetensors", half=True)
    again = load_model(half)
    for name, tensor in again.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, model.state_dict()[name], atol=1e-2, rtol=1e-3)
    assert sum(t.nbytes for t in load_file(half).values()) * 2 == sum(t.nbytes for t in load_file(path).values())


def test_a_changed_weight_is_noticed(path):
    rewrite(path, lambda header, tensors: tensors["norm.weight"].add_(1e-3))
    with pytest.raises(WeightsError, match="damaged"):
        load_model(path)


def test_a_setting_that_is_not_known_is_refused(path):
    rewrite(path, lambda header, tensors: header["config"].update(num_heads=3))
    with pytest.raises(WeightsError, match="num_heads"):
        load_model(path)


def test_a_newer_format_is_refused(path):
    rewrite(path, lambda header, tensors: header.update(format=2))
    with pytest.raises(WeightsError, match="upgrade"):
        load_model(path)


def test_an_unknown_architecture_is_refused(path):
    rewrite(path, lambda header, tensors: header.update(architecture="wavenet"))
    with pytest.raises(WeightsError, match="wavenet"):
        load_model(path)


def test_weights_that_do_not_fit_are_refused(path):
    def drop(header, tensors):
        del tensors["norm.weight"]
        header["sha256"] = store.hash_tensors(tensors)

    rewrite(path, drop)
    with pytest.raises(WeightsError, match=r"norm\.weight"):
        load_model(path)


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(path)


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="import"):
        load_model(tmp_path / "other.safetensors")


def test_names_that_are_not_there_are_answered_with_those_that_are():
    with pytest.raises(UnknownNameError, match="bundled are"):
        load_model("speeech")
    with pytest.raises(UnknownNameError, match="train it first"):
        load_model("s4m-tiny")
    with pytest.raises(WeightsError, match="no weights file"):
        load_model("somewhere/model.safetensors")


def test_all_presets_are_listed():
    assert "s4m-tiny" in list_models()["presets"]
    assert "htdemucs" in list_models()["published"]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(store, "save_file", fail)
    with pytest.raises(OSError, match="no space"):
        save_model(build_model("s4m-tiny", **TINY["s4m-tiny"]), tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_that_has_run_is_refused():
    with pytest.raises(WeightsError, match="before the first forward"):
        s4m_authors.convert_layer({"kernel.kernel.L": torch.tensor(34)})
