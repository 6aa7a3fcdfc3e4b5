"""Models on disk: one safetensors file carries architecture, config, spec, facts, hash and weights.

Nothing is ever unpickled. The hash is over the tensors' names, types, shapes and bytes, and is checked on loading.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path

import torch

from unbraid.errors import ConfigError, UnknownNameError, WeightsError, did_you_mean
from unbraid.files.json_text import JsonError, entries, member, of_kind, parse_json
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending
from unbraid.models.catalog import ARCHITECTURES, PRESETS, ModelConfig, architecture_name, build_model, config_of
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.options import allowed_values, check_option, why_invalid
from unbraid.weights.listing import PRETRAINED, bundled_models
from unbraid.weights.tensors import read_metadata, read_safetensors

FORMAT = 1


@dataclass(frozen=True)
class StoredModel:
    """What a weights file says of itself, read without its weights."""

    path: Path
    name: str
    architecture: str
    config: ModelConfig
    spec: ModelSpec
    sha256: str
    facts: dict[str, object]


def save_model(
    model: SeparationModel,
    path: str | Path,
    *,
    name: str | None = None,
    facts: dict[str, object] | None = None,
    half: bool = False,
) -> Path:
    """Writes a model whole or not at all; `half` stores float16, which loading turns back into float32."""
    path = Path(path)
    from safetensors.torch import save

    config = config_of(model)
    tensors = _unshared(model)
    if half:
        tensors = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    header = {
        "format": FORMAT,
        "name": name or path.stem,
        "architecture": architecture_name(config),
        "config": asdict(config),
        "spec": asdict(model.spec),
        "facts": facts or {},
        "sha256": hash_tensors(tensors),
    }
    pending = PendingFile(path)
    try:
        write_pending(pending, save(tensors, metadata={"unbraid": json.dumps(header)}))
    finally:
        pending.discard()
    return path


def _unshared(model: SeparationModel) -> dict[str, torch.Tensor]:
    """The weights, each in a memory of its own, which safetensors asks for; some networks name a weight twice."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for key, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        pointer = tensor.untyped_storage().data_ptr()
        tensors[key] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return tensors


def load_model(source: str | Path, device: str | torch.device = "cpu") -> SeparationModel:
    """A trained model in evaluation mode: a bundled name such as "speech", or the path of a weights file.

    Raises UnknownNameError for a name that is not there and WeightsError for a file that is damaged or foreign.
    """
    stored = inspect_model(source)
    tensors, _ = read_safetensors(stored.path)
    if hash_tensors(tensors) != stored.sha256:
        raise WeightsError(
            "is damaged: its weights do not match its own hash",
            subject=printable(stored.path),
            remedy="fetch or copy it again",
        )
    try:
        expected = _expected_weights(stored.config, bundled=stored.path.parent == PRETRAINED)
        differing = sorted(set(expected) ^ set(tensors))
        differing += [key for key in tensors if key in expected and tensors[key].shape != expected[key].shape]
        if differing:
            raise WeightsError(
                f"does not fit its architecture '{stored.architecture}': {differing[0]} differs",
                subject=printable(stored.path),
            )
        model = build_model(stored.config)
        model.load_state_dict({key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()})
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise WeightsError(
            f"does not fit its architecture '{stored.architecture}': {error}", subject=printable(stored.path)
        ) from error
    # What was measured best for these weights is theirs and not their architecture's.
    model.spec = replace(model.spec, refine=stored.spec.refine, refine_from_hz=stored.spec.refine_from_hz)
    return model.to(device).eval()


def _expected_weights(config: ModelConfig, *, bundled: bool) -> dict[str, torch.Tensor]:
    """Names, shapes and types of a config's weights; without memory, because the sizes may be anything.

    Those of bundled models are known to be small, and without memory PyTorch takes a second to import its compiler.
    """
    if bundled:
        return build_model(config).state_dict()
    try:
        with torch.device("meta"):
            return build_model(config).state_dict()
    except NotImplementedError:
        # Some networks of other packages compute while they are built; the sizes of those are bounded by their config.
        return build_model(config).state_dict()


def inspect_model(source: str | Path) -> StoredModel:
    """Reads the header of a bundled model or a weights file; no weights are loaded."""
    path = find_weights(source)
    text = read_metadata(path).get("unbraid")
    if text is None:
        raise WeightsError(
            "was not written by unbraid", subject=printable(path), remedy="import it with  unbraid models import"
        )
    try:
        header = of_kind(parse_json(text), dict, "header")
        if (found := member(header, "format", int)) != FORMAT:
            raise WeightsError(
                f"has format {found}; this version reads format {FORMAT}", subject=printable(path), remedy="upgrade"
            )
        architecture = member(header, "architecture", str)
        if architecture not in ARCHITECTURES:
            raise WeightsError(
                f"holds the architecture {architecture!r}, which this version does not know",
                subject=printable(path),
                remedy="upgrade",
            )
        return StoredModel(
            path=path,
            name=member(header, "name", str),
            architecture=architecture,
            config=read_config(ARCHITECTURES[architecture][0], member(header, "config", dict), path),
            spec=_read_spec(member(header, "spec", dict)),
            sha256=member(header, "sha256", str),
            facts=member(header, "facts", dict) if "facts" in header else {},
        )
    except (JsonError, ConfigError) as error:
        raise WeightsError(
            f"has a damaged header ({error})", subject=printable(path), remedy="fetch or copy it again"
        ) from error


def _read_spec(values: Mapping[str, object]) -> ModelSpec:
    known = allowed_values(ModelSpec)
    if unknown := sorted(set(values) - set(known)):
        raise JsonError(f"'{unknown[0]}' is no part of a spec")
    required = {field.name for field in fields(ModelSpec) if field.default is MISSING}
    if missing := sorted(required - set(values)):
        raise JsonError(f"'{missing[0]}' is missing")
    values = {**values, "sources": tuple(entries(values, "sources", str))}
    for name, value in values.items():
        check_option(name, value, known[name])
    return ModelSpec(**values)  # type: ignore[arg-type]


def read_config(config_class: type[ModelConfig], values: dict[str, object], path: Path) -> ModelConfig:
    """A config from its stored form; unknown keys and values of the wrong type are refused."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    try:
        return TypeAdapter(with_config(ConfigDict(extra="forbid"))(config_class)).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise WeightsError(
            f"has a config that this version does not read: {where}: {why_invalid(problem)}", subject=printable(path)
        ) from error
    except (ConfigError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"has a config that this version does not read: {error}", subject=printable(path)) from error


def find_weights(source: str | Path) -> Path:
    """The file of ours behind a bundled name, a path, or whatever else names a model; see `published/locate.py`.

    A model from elsewhere is fetched where it is not on this machine, and converted where it is foreign.
    """
    from unbraid.weights.published.locate import find_elsewhere, is_foreign_file
    from unbraid.weights.published.registry import published_names

    path = Path(source)
    try:
        if "\0" in str(source):
            raise WeightsError(
                f"'{printable(path)[:40]}' is no name of a model", remedy=f"choose one of: {_bundled_names()}"
            )
        if path.is_file() and not is_foreign_file(path):
            return path
        if isinstance(source, str) and (bundled := PRETRAINED / f"{source}.safetensors").is_file():
            return bundled
        if elsewhere := find_elsewhere(str(source)):
            return elsewhere
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise WeightsError(
            f"'{str(source)[:40]}...' is no name of a model ({error.strerror})",
            remedy=f"choose one of: {_bundled_names()}",
        ) from error
    if isinstance(source, Path) or path.suffix == ".safetensors" or len(path.parts) > 1:
        raise WeightsError(f"there is no weights file {path}", remedy=f"give its path or one of: {_bundled_names()}")
    hint = " (a preset has no trained weights; train it first)" if source in PRESETS else ""
    names = (*bundled_models(), *published_names())
    near = None if hint or source in names else did_you_mean(str(source), names)
    raise UnknownNameError(
        f"there is no model '{source}'{hint}" + ("" if near else f"; bundled are: {_bundled_names()}"),
        remedy=near or "unbraid models list  shows all",
    )


def _bundled_names() -> str:
    return ", ".join(bundled_models()) or "none"


def list_models() -> dict[str, list[str]]:
    """Names that `load_model` takes ("bundled", and "published", which are fetched) and those for `build_model`
    ("presets")."""
    from unbraid.weights.published.registry import published_models

    return {"bundled": bundled_models(), "published": list(published_models()), "presets": sorted(PRESETS)}


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


assert all(is_dataclass(config) for config in PRESETS.values())
