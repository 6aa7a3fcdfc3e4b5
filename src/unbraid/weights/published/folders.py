"""Which model lies in a folder or repository, told by the names of its files.

speechbrain    encoder.ckpt, masknet.ckpt, decoder.ckpt, and hyperparams.yaml
sfc            a folder with a Hydra config and checkpoints/
demucs         NAME.yaml, and one 0123abcd.safetensors for each member of the bag
settings       one file of weights and one .yaml beside it, as RoFormers and their like are published
weights        one file of weights alone: of unbraid or of ResUNetDecouple+
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from unbraid.errors import WeightsError

FolderKind = Literal["speechbrain", "sfc", "demucs", "settings", "weights"]

_WEIGHTS = (".safetensors", ".ckpt", ".pth", ".pt", ".th", ".chpt", ".bin")
_YAML = (".yaml", ".yml")
_SIGNATURE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8})?\.safetensors")
_HYDRA = ("merged_config.yaml", ".hydra/config.yaml", "config.yaml", "hparams.yaml")
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model as it is published, its files named from where they lie."""

    kind: FolderKind
    place: str
    """The folder, or the file where a model is one file; "" where that is the top."""
    files: tuple[str, ...]


def find_model(paths: Sequence[str], wanted: str | None, subject: str) -> ModelFiles:
    """The one model among paths, or the one at `wanted`, in which * stands for anything.

    Raises WeightsError that says what was found instead.
    """
    models = find_models(paths)
    chosen = [model for model in models if wanted is None or fnmatchcase(model.place, wanted)]
    if wanted is not None and not chosen:
        chosen = [
            model
            for model in models
            if model.place.startswith(f"{wanted}/") or any(fnmatchcase(file, wanted) for file in model.files)
        ]
        if len(chosen) > 1 and (owners := [model for model in chosen if model.place.startswith(f"{wanted}/")]):
            chosen = owners
    if len(chosen) == 1:
        return chosen[0]
    places = [model.place or "." for model in (chosen or models)]
    if len(chosen) > 1:
        raise WeightsError(
            f"holds {len(chosen)} models, name one of them after a colon: {_some(places)}", subject=f"{subject}"
        )
    what = f"no model '{wanted}'" if wanted else "no model that is known here"
    found = f"models are at {_some(places)}" if places else f"files are {_some(sorted(paths)) if paths else 'none'}"
    raise WeightsError(f"holds {what}; its {found}", subject=f"{subject}")


def find_models(paths: Iterable[str]) -> list[ModelFiles]:
    """All models among paths, by place."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        parent = PurePosixPath(path).parent.as_posix()
        folders.setdefault("" if parent == "." else parent, []).append(PurePosixPath(path).name)
        if parent.endswith("/checkpoints"):
            folders.setdefault(parent.removesuffix("/checkpoints"), [])
    models: dict[str, list[ModelFiles]] = {}
    for folder in sorted(folders, key=lambda name: (name.count("/"), name)):
        models[folder] = _models_in(folder, folders)
    # What lies in the checkpoints of a run is a part of that model.
    runs = {
        f"{model.place}/checkpoints".strip("/") for found in models.values() for model in found if model.kind == "sfc"
    }
    return [model for folder, found in models.items() if folder not in runs for model in found]


def paths_below(folder: Path) -> tuple[str, ...]:
    """Files of a local folder, three levels deep."""
    found = [path for depth in ("*", "*/*", "*/*/*", "*/*/*/*") for path in sorted(folder.glob(depth))]
    return tuple(path.relative_to(folder).as_posix() for path in found if path.is_file())


def _models_in(folder: str, folders: dict[str, list[str]]) -> list[ModelFiles]:
    names = set(folders[folder])

    def model(kind: FolderKind, files: Iterable[str], place: str | None = None) -> ModelFiles:
        paths = tuple(f"{folder}/{name}" if folder else name for name in sorted(files))
        return ModelFiles(kind=kind, place=folder if place is None else place, files=paths)

    if {"encoder.ckpt", "masknet.ckpt", "decoder.ckpt"} <= names:
        wanted = {"encoder.ckpt", "masknet.ckpt", "decoder.ckpt", "hyperparams.yaml"} & names
        return [model("speechbrain", wanted)]
    if checkpoints := _checkpoints(folder, folders):
        return [model("sfc", [*checkpoints, *_hydra_files(folder, folders)])]
    yaml = sorted(name for name in names if name.endswith(_YAML))
    signed = sorted(name for name in names if _SIGNATURE.fullmatch(name))
    if yaml and signed:
        places = [f"{folder}/{name}" if folder else name for name in yaml]
        if len(yaml) == 1:
            return [model("demucs", [*yaml, *signed])]
        return [model("demucs", [name, *signed], place) for name, place in zip(yaml, places, strict=True)]
    weights = sorted(name for name in names if name.endswith(_WEIGHTS))
    if len(weights) == 1 and len(yaml) == 1:
        return [model("settings", [*weights, *yaml])]
    found = []
    for name in weights:
        beside = [other for other in yaml if _belongs(other, name)][:1]
        place = (f"{folder}/{name}" if folder else name) if len(weights) > 1 else folder
        found.append(model("settings" if beside else "weights", [name, *beside], place))
    return found


def _checkpoints(folder: str, folders: dict[str, list[str]]) -> list[str]:
    """Weights of a run: the average that was saved, or else all checkpoints but the last one of an unfinished run."""
    inner = folders.get(f"{folder}/checkpoints" if folder else "checkpoints", [])
    names = sorted(name for name in inner if name.endswith((".pth", ".ckpt", ".pt")))
    if "model.pth" in names:
        return ["checkpoints/model.pth"]
    best = [name for name in names if PurePosixPath(name).stem != "last"] or names
    return [f"checkpoints/{name}" for name in best]


def _hydra_files(folder: str, folders: dict[str, list[str]]) -> list[str]:
    hydra = folders.get(f"{folder}/.hydra" if folder else ".hydra", [])
    there = {*folders[folder], *(f".hydra/{name}" for name in hydra)}
    return next(([name] for name in _HYDRA if name in there), [])


def _belongs(yaml: str, weights: str) -> bool:
    stem = PurePosixPath(weights).stem
    return PurePosixPath(yaml).stem in (stem, f"config_{stem}", f"{stem}_config", f"{weights}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
