"""Models of other projects into files of ours, once, in the cache folder; what such a file says can be trusted.

From then on a model from elsewhere is a safetensors file like any other: it is inspected, loaded, fine-tuned, profiled
and recorded by the same code, its weights are checked against their hash, and the original is not read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from unbraid.errors import WeightsError
from unbraid.files.cache import cache_folder
from unbraid.models.catalog import ModelConfig, build_model
from unbraid.models.contract import SeparationModel
from unbraid.weights.adapters import bs_locoformer, demucs_files, pymss_files, resunet_authors, sfc_release, speechbrain
from unbraid.weights.foreign import convert_weights
from unbraid.weights.published.folders import ModelFiles
from unbraid.weights.published.lock import exclusive
from unbraid.weights.settings import read_settings
from unbraid.weights.tensors import Tensors, average, read_safetensors, read_tensors

_VERSION = 2
"""Raise it where the same files become another model."""


def converted(files: ModelFiles, root: Path, name: str, facts: Mapping[str, object]) -> Path:
    """The file of ours that a published model becomes; one of ours is returned as it is."""
    from unbraid.weights.store import save_model

    if own := own_file(files, root):
        return own
    path = cache_folder() / "models" / f"{_key(files, root)}.safetensors"
    with exclusive(path):
        if not _is_whole(path):
            model, form, half = read_model(files, root)
            save_model(model, path, name=name, facts={**facts, "imported_from": form}, half=half)
    return path


def _is_whole(path: Path) -> bool:
    """False where a copy in the cache is not there or was cut: it is made again, as nobody else needs it."""
    try:
        return path.is_file() and "unbraid" in read_safetensors_header(path)
    except WeightsError:
        return False


def conversion_path(files: ModelFiles, root: Path) -> Path:
    """Where `converted` puts its file."""
    return own_file(files, root) or cache_folder() / "models" / f"{_key(files, root)}.safetensors"


def own_file(files: ModelFiles, root: Path) -> Path | None:
    """The file where the model is one that unbraid wrote."""
    if files.kind != "weights" or not files.files[0].endswith(".safetensors"):
        return None
    path = root / files.files[0]
    return path if "unbraid" in read_safetensors_header(path) else None


def read_safetensors_header(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors, which are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"is damaged or no safetensors file: {error}", subject=f"{path.name}") from error


def read_model(files: ModelFiles, root: Path) -> tuple[SeparationModel, str, bool]:
    """The model, the name of its format, and whether its weights are stored as 16-bit numbers."""
    match files.kind:
        case "speechbrain":
            tensors, text = speechbrain.gather(root, files.files)
            return _foreign(tensors, "speechbrain", speechbrain.guess_config(tensors, text))
        case "sfc":
            checkpoints = [file for file in files.files if not file.endswith((".yaml", ".yml"))]
            settings = next((read_settings(root / file) for file in files.files if file.endswith(".yaml")), {})
            tensors = sfc_release.core_tensors(average([read_tensors(root / file) for file in checkpoints]))
            if bs_locoformer.is_theirs(tensors):
                return _foreign(tensors, "bs-locoformer", bs_locoformer.guess_config(tensors, settings))
            return _foreign(tensors, "sfc-authors", sfc_release.guess_config(tensors, settings))
        case "demucs":
            config, tensors = demucs_files.read_bag(root, files.files)
            return _packaged(config, tensors), "demucs", _is_half(tensors)
        case "settings":
            weights, yaml = sorted(files.files, key=lambda file: file.endswith((".yaml", ".yml")))
            config = pymss_files.guess_config(read_settings(root / yaml), Path(yaml).name)
            tensors = pymss_files.network_tensors(read_tensors(root / weights))
            return _packaged(config, tensors), "pymss", _is_half(tensors)
    return _read_single(root / files.files[0])


def _read_single(path: Path) -> tuple[SeparationModel, str, bool]:
    """One file of weights alone."""
    if path.suffix == ".safetensors" and demucs_files.is_theirs(read_safetensors(path)[1]):
        config, tensors = demucs_files.read_member(path)
        return _packaged(config, tensors), "demucs", _is_half(tensors)
    tensors = read_tensors(path)
    if resunet_authors.is_theirs(tensors):
        return _foreign(tensors, "resunet-authors", resunet_authors.guess_config(tensors, path.name))
    raise WeightsError(
        "holds weights without saying of which model",
        subject=f"{path.name}",
        remedy="give the folder with its settings, or name the preset that it belongs to with  unbraid models import",
    )


def _foreign(tensors: Tensors, form: str, config: ModelConfig) -> tuple[SeparationModel, str, bool]:
    return convert_weights(tensors, form, config), form, _is_half(tensors)


def _packaged(config: ModelConfig, tensors: Tensors) -> SeparationModel:
    """A network of another package with these weights."""
    try:
        model = build_model(config)
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError, ZeroDivisionError) as error:
        detail = " ".join(str(error).split())[:200]
        raise WeightsError(f"the package cannot build the network that these settings describe: {detail}") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise WeightsError(f"the weights do not fit the network that their settings describe ({detail})") from error
    return model


def _is_half(tensors: Tensors) -> bool:
    floats = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    return bool(floats) and all(dtype in (torch.float16,) for dtype in floats)


def _key(files: ModelFiles, root: Path) -> str:
    """Says which files these are without reading them: by place, size and time of change."""
    facts: list[object] = [_VERSION, files.kind]
    for file in files.files:
        path = (root / file).resolve()
        stat = path.stat()
        facts.append([str(path), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
