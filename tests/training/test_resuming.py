"""Whatever lies in the place of a checkpoint or of settings: one sentence, and nothing is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.training.tiny import CONFIG
from unbraid.errors import ConfigError, DataError, UnbraidError
from unbraid.models.catalog import build_model
from unbraid.training.resuming import check_checkpoint, read_settings


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def model():
    return build_model(CONFIG.model)


@pytest.fixture
def content(model) -> dict:
    return {
        "state_dict": model.state_dict(),
        "optimizer_states": [],
        "lr_schedulers": [],
        "loops": {},
        "global_step": 3,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.ckpt"


def test_a_whole_one_is_taken(model, content, path):
    torch.save(content, path)
    check_checkpoint(path, model)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_half_a_checkpoint(model, content, path, share):
    torch.save(content, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match="is damaged, or no checkpoint of") as caught:
        check_checkpoint(path, model)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("what", ["hello", "bomb", "bomb inside", "list", "other keys", "wrong kinds"])
def test_what_is_no_checkpoint(model, content, path, tmp_path, what):
    mark = tmp_path / "bomb-went-off"
    torch.save(
        {
            "hello": "hello",
            "bomb": Bomb(mark),
            "bomb inside": {**content, "callbacks": Bomb(mark)},
            "list": [1, 2],
            "other keys": {"state_dict": content["state_dict"]},
            "wrong kinds": {**content, "loops": 5},
        }[what],
        path,
    )
    if what == "hello":
        path.write_text("hello")
    with pytest.raises(DataError, match="is damaged, or no checkpoint of"):
        check_checkpoint(path, model)
    assert not mark.exists()


def test_another_model(model, content, path):
    name = next(iter(content["state_dict"]))
    for other in (
        {key: value for key, value in content["state_dict"].items() if key != name},
        {**content["state_dict"], "more": torch.zeros(1)},
        {**content["state_dict"], name: torch.zeros(1, 2, 3)},
        {**content["state_dict"], name: "text"},
    ):
        torch.save({**content, "state_dict": other}, path)
        with pytest.raises(ConfigError, match="is of a run with another model"):
            check_checkpoint(path, model)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "5", "\\xff"])
def test_damaged_settings(tmp_path, text):
    assert read_settings(tmp_path) is None
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnbraidError, match=r"config\.json' cannot be read \(.*\): remove it, and resume again"):
        read_settings(tmp_path)
