"""Files in which demucs publishes models (hub adefossez/HTDemucs...): NAME.yaml and one safetensors file per member.

The header of a member names a class and its arguments. The package would import and call whatever is named there; we
take the class from an allow-list and refuse arguments that the class does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unbraid.errors import ConfigError, WeightsError
from unbraid.files.json_text import JsonError, parse_json
from unbraid.models.catalog import ModelConfig
from unbraid.models.ensemble.model import EnsembleConfig
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.weights.settings import read_settings
from unbraid.weights.tensors import Tensors, read_safetensors

_CLASSES = {
    "demucs.htdemucs.HTDemucs": "HTDemucs",
    "demucs.hdemucs.HDemucs": "HDemucs",
    "demucs.demucs.Demucs": "Demucs",
}
_NAMED = ("sources", "audio_channels", "samplerate", "segment")
"""Arguments that are fields of our config."""
_DEFAULT_SEGMENT = (10, 1)


def is_theirs(header: dict[str, str]) -> bool:
    return "klass" in header and "kwargs" in header


def read_bag(root: Path, files: Sequence[str]) -> tuple[ModelConfig, Tensors]:
    """Config and weights of a bag, or of its one member; members that the bag does not name are left alone."""
    yaml = next(file for file in files if file.endswith((".yaml", ".yml")))
    bag = read_settings(root / yaml)
    signatures = bag.get("models")
    if not isinstance(signatures, list) or not signatures:
        raise WeightsError("names no models of a bag", subject=f"{yaml}")
    members: list[tuple[DemucsConfig, Tensors]] = []
    for signature in signatures:
        file = next((file for file in files if Path(file).name.startswith(f"{signature}")), None)
        if file is None or not file.endswith(".safetensors"):
            raise WeightsError(
                f"names the member {signature}, of which there is no file {signature}.safetensors", subject=f"{yaml}"
            )
        members.append(read_member(root / file))
    if len(members) == 1:
        return members[0]
    config = EnsembleConfig(members=tuple(config for config, _ in members), weights=_weights(bag, members, yaml))
    tensors = {
        f"members.{number}.{name}": tensor
        for number, (_, member) in enumerate(members)
        for name, tensor in member.items()
    }
    return config, tensors


def read_member(path: Path) -> tuple[DemucsConfig, Tensors]:
    """Config and weights of one safetensors file of demucs."""
    tensors, header = read_safetensors(path)
    if not is_theirs(header):
        raise WeightsError("is no file of demucs: its header names no network", subject=f"{path.name}")
    if "structure" in header:
        raise WeightsError("holds quantised weights, which only demucs itself reads", subject=f"{path.name}")
    try:
        arguments, positional = parse_json(header["kwargs"]), parse_json(header.get("args", "[]"))
    except JsonError as error:
        raise WeightsError(f"has a damaged header: {error}", subject=f"{path.name}") from error
    config = _config(header["klass"], positional, arguments, path.name)
    return config, {f"network.{name}": tensor for name, tensor in tensors.items()}


def _config(klass: str, positional: object, arguments: object, name: str) -> DemucsConfig:
    if klass not in _CLASSES:
        raise WeightsError(
            f"names {klass[:80]!r} as its network; networks of demucs are {', '.join(_CLASSES)}", subject=name
        )
    if not isinstance(arguments, dict) or not isinstance(positional, list) or len(positional) > 1:
        raise WeightsError("has arguments in a form that demucs does not write", subject=name)
    if positional:
        arguments = {"sources": positional[0], **arguments}
    sources = arguments.get("sources")
    if not isinstance(sources, list) or not sources or not all(isinstance(source, str) for source in sources):
        raise WeightsError("does not say which stems it estimates", subject=name)
    try:
        return DemucsConfig(
            network=_CLASSES[klass],  # type: ignore[arg-type]
            sources=tuple(sources),
            num_channels=_integer(arguments.get("audio_channels", 2), name),
            sample_rate=_integer(arguments.get("samplerate", 44_100), name),
            segment=_fraction(arguments.get("segment"), name),
            arguments={key: value for key, value in arguments.items() if key not in _NAMED},
        )
    except ConfigError as error:
        raise WeightsError(f"{name}: {error}") from error


def _fraction(value: object, name: str) -> tuple[int, int]:
    if value is None:
        return _DEFAULT_SEGMENT
    if isinstance(value, dict) and value.get("_type") == "fraction":
        return _integer(value.get("numerator"), name), _integer(value.get("denominator"), name)
    if isinstance(value, int | float) and 0 < value < 1000:
        return round(value * 1000), 1000
    raise WeightsError("has a segment that is no number of seconds", subject=name)


def _integer(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise WeightsError(f"has {str(value)[:40]!r} where a whole number is expected", subject=name)
    return value


def _weights(
    bag: dict[str, object], members: list[tuple[DemucsConfig, Tensors]], name: str
) -> tuple[tuple[float, ...], ...]:
    rows = bag.get("weights") or [[1.0] * len(config.sources) for config, _ in members]
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and all(isinstance(number, int | float) for number in row) for row in rows
    ):
        raise WeightsError("has weights that are no rows of numbers", subject=name)
    return tuple(tuple(float(number) for number in row) for row in rows)
