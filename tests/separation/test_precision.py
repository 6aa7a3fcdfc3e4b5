"""Products in bfloat16, and compiled models."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import TINY
from unbraid import Separator, build_model
from unbraid.cli.main import app
from unbraid.errors import ConfigError
from unbraid.separation import separator as module
from unbraid.separation.device import choose_precision

CPU = torch.device("cpu")


def test_auto_is_bfloat16_where_a_gpu_has_it(monkeypatch):
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert choose_precision("auto", torch.device("cuda")) == expected
        assert choose_precision("float32", torch.device("cuda")) == torch.float32


def test_float32_unless_asked():
    assert Separator(build_model("s4m-tiny", **TINY["s4m-tiny"]), device="cpu").config.precision == "float32"


@pytest.mark.parametrize("name", ["s4m-tiny", "sfc-ca-small"])
def test_bfloat16_is_near_and_not_the_same(name):
    model = build_model(name, **TINY[name])
    mixture = 0.1 * np.random.default_rng(0).standard_normal((model.spec.num_channels, 4000)).astype(np.float32)
    exact, rounded = (
        Separator(model, device="cpu", precision=precision).separate(mixture, model.spec.sample_rate)
        for precision in ("float32", "bfloat16")
    )
    for source, stem in exact.items():
        difference = np.abs(rounded[source].samples - stem.samples).max()
        assert 0 < difference < 0.1 * np.abs(stem.samples).max()


def test_a_model_of_the_caller_is_compiled_as_a_copy(monkeypatch):
    compiled = []
    monkeypatch.setattr(module, "compile_parts", compiled.append)
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    separator = Separator(model, device="cpu", compile=True)
    assert compiled == [separator.model]
    assert separator.model is not model
    Separator(model, device="cpu")
    assert len(compiled) == 1


def test_onnxruntime_has_neither():
    for setting in ({"precision": "bfloat16"}, {"compile": True}):
        with pytest.raises(ConfigError, match="onnxruntime"):
            Separator("speech", device="cpu", backend="onnxruntime", **setting)


def test_train_takes_both_as_options():
    words = ["train", "speech", "--precision", "bfloat16", "--compile", "--settings"]
    settings = CliRunner().invoke(app, words).output
    assert "precision=bf16-mixed" in settings
    assert "compile=True" in settings
