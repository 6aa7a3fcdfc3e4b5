"""Weights files: what they carry, and that damaged or foreign ones are refused with a sentence."""

import errno
import json
import os
import pickle
import re
from contextlib import suppress

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.conftest import TINY
from tests.mistyped import GONE, mistyped
from unbraid.errors import AudioWriteError, UnbraidError, UnknownNameError, WeightsError
from unbraid.models.catalog import build_model
from unbraid.weights.adapters import s4m_authors
from unbraid.weights.store import hash_tensors, inspect_model, list_models, load_model, save_model


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
        header["sha256"] = hash_tensors(tensors)

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
    with pytest.raises(UnknownNameError, match=r"^there is no model 'speeech': did you mean speech\?$"):
        load_model("speeech")
    with pytest.raises(UnknownNameError, match=r"bundled are: .*speech.*: unbraid models list  shows all$"):
        load_model("qqq")
    with pytest.raises(UnknownNameError, match="train it first"):
        load_model("s4m-tiny")
    with pytest.raises(WeightsError, match="no weights file"):
        load_model("somewhere/model.safetensors")


def test_all_presets_are_listed():
    assert "s4m-tiny" in list_models()["presets"]
    assert "htdemucs" in list_models()["published"]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AudioWriteError, match=r"cannot write '.*x\.safetensors': the disk is full"):
        save_model(build_model("s4m-tiny", **TINY["s4m-tiny"]), tmp_path / "new" / "x.safetensors")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_missing_is_made(tmp_path):
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    assert load_model(save_model(model, tmp_path / "a" / "b" / "x.safetensors")).spec == model.spec


def test_headers_of_any_kind_are_refused_in_one_sentence(path, tmp_path):
    """Every value of a header in turn becomes one of another type, or goes; what is still read is still a model."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["unbraid"])
    damaged, count = tmp_path / "damaged.safetensors", 0
    infinite = {**header, "config": {**header["config"], "kernel_ms": 1e400}}
    others = map(json.dumps, mistyped(header, (None, [["x"]], "x", -1, GONE)))
    for text in ["null", "[]", "[" * 100_000, "{", json.dumps(infinite), *others]:
        save_file({"a": torch.zeros(1)}, damaged, metadata={"unbraid": text})
        count += 1
        with suppress(WeightsError):
            assert isinstance(inspect_model(damaged).name, str)
    assert count > 100


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.99])
def test_half_a_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"is empty|not a safetensors file|damaged"):
        load_model(path)


def test_sizes_beyond_all_memory_are_refused_before_any_is_taken(path):
    rewrite(path, lambda header, tensors: header["config"].update(bottleneck_dim=2**30))
    with pytest.raises(WeightsError, match="does not fit its architecture"):
        load_model(path)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "\x1b[31m"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(UnbraidError) as caught:
        inspect_model(name)
    assert "\n" not in str(caught.value)


def test_a_foreign_file_that_has_run_is_refused():
    with pytest.raises(WeightsError, match="before the first forward"):
        s4m_authors.convert_layer({"kernel.kernel.L": torch.tensor(34)})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty (0 bytes): copy or download it again"),
        (b"Notes on the mix, longer than a header.", "is not a safetensors file, which holds weights: name a file of"),
        (b"\x40\0\0\0\0\0\0\0{", "is a damaged safetensors file: "),
    ],
)
def test_a_file_of_anything_else_is_told_from_a_damaged_one(content, sentence, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(f"{path} {sentence}")):
        load_model(str(path))
