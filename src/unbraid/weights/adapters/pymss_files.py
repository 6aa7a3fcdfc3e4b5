"""Files of RoFormers, MDX23C, SCNet and both Bandits as the community publishes them: weights and a YAML beside them.

The YAML describes a run of training: sections audio, model (or kwargs) and training.
Which network it is, its keys tell.
"""

from __future__ import annotations

from collections.abc import Mapping

from unbraid.errors import ConfigError, WeightsError
from unbraid.models.packaged.pymss import PymssConfig, PymssNetwork
from unbraid.weights.tensors import Tensors

_AUDIO_OF_MDX23C = ("n_fft", "hop_length", "dim_f", "dim_t")
_METADATA = ("type", "model_type", "architecture", "name")
_REST = "instrumental"
_OPPOSITES = {"vocals": "instrumental", "instrumental": "vocals", "other": "vocals"}


def guess_config(settings: Mapping[str, object], name: str) -> PymssConfig:
    """The config that settings describe; raises WeightsError where no network that is known here fits."""
    network = _network(settings)
    if network is None:
        raise WeightsError(
            f"{name} describes no network that is known here (BS-RoFormer, MelBand-RoFormer, MDX23C, SCNet, Bandit)"
        )
    audio, training = _section(settings, "audio"), _section(settings, "training")
    arguments = dict(_section(settings, "kwargs" if network == "bandit_v2" else "model"))
    for key in _METADATA:
        arguments.pop(key, None)
    stems = arguments.pop("stems", None) if network in ("bandit", "bandit_v2") else None
    sources = arguments.pop("sources", None) if network == "scnet" else None
    instruments = stems or training.get("instruments") or sources
    if not isinstance(instruments, list | tuple) or not all(isinstance(stem, str) for stem in instruments):
        raise WeightsError("does not say which stems its network estimates", subject=name)
    if network == "mdx23c":
        arguments |= {key: audio[key] for key in _AUDIO_OF_MDX23C if key in audio}
    target = training.get("target_instrument")
    targets = (target,) if isinstance(target, str) else tuple(_file_name(stem) for stem in instruments)
    rate = audio.get("sample_rate", arguments.get("fs", 44_100))
    try:
        return PymssConfig(
            network=network,
            sample_rate=_integer(rate, 44_100),
            num_channels=_num_channels(network, audio, arguments),
            targets=targets,
            rest=_rest(targets, instruments) if isinstance(target, str) else None,
            chunk_samples=_integer(audio.get("chunk_size") or _inference_chunk(settings), 352_800),
            level="whole-file" if _section(settings, "inference").get("normalize") is True else "as-given",
            arguments={key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()},
        )
    except ConfigError as error:
        raise WeightsError(f"{name}: {error}") from error


def network_tensors(tensors: Tensors) -> Tensors:
    """Names of our model from those of the network alone."""
    prefixes = ("module.", "model.")
    for prefix in prefixes:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {f"network.{key}": value for key, value in tensors.items()}


def _network(settings: Mapping[str, object]) -> PymssNetwork | None:
    model = set(_section(settings, "model"))
    if "freqs_per_bands" in model:
        return "bs_roformer"
    if "num_bands" in model and "dim" in model:
        return "mel_band_roformer"
    if {"num_subbands", "num_scales", "bottleneck_factor"} <= model:
        return "mdx23c"
    if {"dims", "num_dplayer"} <= model or "band_SR" in model:
        return "scnet"
    if {"in_channel", "stems", "band_specs"} <= model:
        return "bandit"
    if {"in_channels", "stems"} <= set(_section(settings, "kwargs")):
        return "bandit_v2"
    return None


def _rest(targets: tuple[str, ...], instruments: list[str] | tuple[str, ...]) -> str:
    """The name of what is left: the other instrument where there are two, or else what is usually meant."""
    others = [_file_name(stem) for stem in instruments if stem not in targets]
    return others[0] if len(others) == 1 else _OPPOSITES.get(targets[0].lower(), _REST)


def _num_channels(network: str, audio: Mapping[str, object], arguments: Mapping[str, object]) -> int:
    if network in ("bs_roformer", "mel_band_roformer"):
        return 2 if arguments.get("stereo") else 1
    named = {"scnet": "audio_channels", "bandit": "in_channel", "bandit_v2": "in_channels"}.get(network)
    return _integer(arguments.get(named or "", audio.get("num_channels", 2)), 2)


def _inference_chunk(settings: Mapping[str, object]) -> object:
    return _section(settings, "inference").get("chunk_size")


def _section(settings: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = settings.get(name)
    return section if isinstance(section, Mapping) else {}


def _file_name(stem: str) -> str:
    return stem.strip().replace("/", "-")


def _integer(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
