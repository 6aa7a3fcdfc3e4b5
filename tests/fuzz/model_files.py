"""Files of models: weights of ours and of others, checkpoints, their settings, and what is noted of downloads."""

from __future__ import annotations

import io
import json
import os
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save

from tests.conftest import TINY
from tests.fuzz.target import Builders, Target, in_file
from unbraid.models.catalog import build_model
from unbraid.training.resuming import check_checkpoint
from unbraid.training.resuming import read_settings as read_run_settings
from unbraid.weights.adapters.demucs_files import read_bag
from unbraid.weights.published import catalogues, lock
from unbraid.weights.settings import read_settings
from unbraid.weights.store import inspect_model, save_model
from unbraid.weights.tensors import read_tensors


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _weights(folder: Path) -> Target:
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    seed = save_model(model, folder / "seed.safetensors").read_bytes()
    return in_file("m.safetensors", inspect_model, seed)(folder)


def _onnx(folder: Path) -> Target:
    """Read, and run on a tenth of a second."""
    from unbraid.separation.backends.onnxruntime import load_onnx
    from unbraid.weights.portable import export_program

    model = build_model("fb-tiny", **TINY["fb-tiny"])
    seed = export_program(model, folder / "seed.onnx", "onnx", name="tiny").read_bytes()
    return in_file("m.onnx", load_onnx, seed)(folder)


def _lock(folder: Path) -> Target:
    entry = {"commit": "0" * 40, "files": {"a/m.safetensors": {"size": 3, "sha256": "ab" * 32}}}
    seed = json.dumps({"format": 1, "sources": {"owner/name": entry}}).encode()

    def read(path: Path) -> None:
        with mock.patch.dict(os.environ, UNBRAID_CACHE=str(folder)):
            lock.read_lock()

    return in_file("models.lock.json", read, seed)(folder)


def _catalogue(folder: Path) -> Target:
    """The list that a package of models brings."""
    model = {"name": "a.ckpt", "relpath": "a/a.ckpt", "config_relpath": "a/a.yaml", "model_type": "bs_roformer"}
    seed = json.dumps({"models": [{**model, "size_bytes": 3, "aliases": ["b", "c"]}]}).encode()

    def read(path: Path) -> None:
        with mock.patch.object(catalogues, "_data_of", return_value=path):
            catalogues._pymss.__wrapped__()

    return in_file("catalogue.json", read, seed)(folder)


def _bag(folder: Path) -> Target:
    seed = b"models: ['955717e8']\nweights: [[1., 0., 0., 0.]]\nsegment: 7.8\n"
    arguments = {"sources": ["drums", "vocals"], "audio_channels": 2, "samplerate": 44100}
    header = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(arguments)}
    (folder / "955717e8.safetensors").write_bytes(save({"a": torch.zeros(1)}, header))
    return in_file("bag.yaml", lambda path: read_bag(folder, ["bag.yaml", "955717e8.safetensors"]), seed)(folder)


def _member(folder: Path) -> Target:
    arguments = {"sources": ["drums", "vocals"], "segment": {"_type": "fraction", "numerator": 39, "denominator": 5}}
    header = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(arguments)}
    seed = save({"a": torch.zeros(1)}, header)
    (folder / "one.yaml").write_text("models: [0123abcd]")
    return in_file("0123abcd.safetensors", lambda path: read_bag(folder, ["one.yaml", path.name]), seed)(folder)


_TENSORS = {"a": torch.zeros(9)}
_CHECKPOINT = {"state_dict": {}, "optimizer_states": [], "lr_schedulers": [], "loops": {}, "global_step": 1}
_YAML = b"model: {dim: 8, heads: !!python/tuple [1, 2], rate: 1e-4}\nname: 'x'\nlist: [1, a, null]\n"
_RUN = json.dumps({"data": {"root": "d", "rate": 8000}, "model": {"dim": 8}, "steps": 10}).encode()

BUILDERS: Builders = {
    "weights": _weights,
    "safetensors": in_file("n.safetensors", read_tensors, save(_TENSORS)),
    "pytorch": in_file("n.pt", read_tensors, _saved(_TENSORS)),
    "checkpoint": in_file("c.ckpt", lambda path: check_checkpoint(path, torch.nn.Identity()), _saved(_CHECKPOINT)),
    "run settings": in_file("config.json", lambda path: read_run_settings(path.parent), _RUN),
    "yaml": in_file("s.yaml", read_settings, _YAML),
    "model lock": _lock,
    "catalogue": _catalogue,
    "demucs bag": _bag,
    "demucs member": _member,
}
if all(find_spec(package) for package in ("onnx", "onnxscript", "onnxruntime")):
    BUILDERS["onnx"] = _onnx
