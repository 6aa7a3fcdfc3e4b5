"""BS-Locoformer (github b-sigpro/mixit-mss, hub kohei0209/mixit_mss; merlresearch/tf-locoformer) into our SFC.

K. Saijo et al., "Task-Aware Unified Source Separation", ICASSP 2025; K. Saijo, Y. Bando, "Is MixIT Really Unsuitable
for Correlated Sources?", WASPAA 2025. TF-Locoformer between the 62 bands of BS-RoFormer, each normalised over the whole
chunk; each channel is scaled by its own level. Two linear layers of the decoder that follow each other with nothing
between them become one, which changes no result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from einops import rearrange

from unbraid.errors import WeightsError
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.model import SFCConfig
from unbraid.signal.bands import bs_roformer_bands
from unbraid.weights.adapters import sfc_authors, sfc_release
from unbraid.weights.settings import mappings
from unbraid.weights.tensors import Tensors

_SPLIT = re.compile(r"band_split_module\.band_split_module\.(\d+)\.([01])\.(weight|bias)")
_DECODING = "band_split_module.bandwise_decoding_module"
"""Of each band: 0 norm, 1 linear, then 2 linear, 3 tanh, 4 linear (mixit-mss) or 2 tanh, 3 linear, 4 linear
(tf-locoformer), 5 GLU."""


def is_theirs(tensors: Tensors) -> bool:
    """Whether a network's weights, without what wraps it, are of this kind."""
    return f"{_DECODING}.0.0.weight" in tensors


def guess_config(tensors: Tensors, settings: Mapping[str, object]) -> SFCConfig:
    """The config from the shapes of the weights, and from the run's settings what shapes do not tell."""
    try:
        return _config(tensors, settings)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(f"these weights are of no BS-Locoformer that is known here: {error} differs") from error


def _config(tensors: Tensors, settings: Mapping[str, object]) -> SFCConfig:
    sizes = [
        tensors[f"band_split_module.band_split_module.{band}.0.weight"].shape[0] for band in range(_bands(tensors))
    ]
    found = list(mappings(dict(settings)))
    network = next((entry for entry in found if {"emb_dim", "n_layers"} <= set(entry)), {})
    num_channels = sizes[0] // 4  # The lowest band has two bins, each with two parts for every channel.
    num_freqs = sum(sizes) // (2 * num_channels)
    table = bs_roformer_bands(num_freqs)
    if [2 * num_channels * width for width in table.widths] != sizes:
        raise WeightsError(f"splits {num_freqs} bins otherwise than BS-RoFormer does", subject="this BS-Locoformer")
    _check(network)
    last = max(int(key.split(".")[3]) for key in tensors if key.startswith(f"{_DECODING}.0."))
    num_sources = tensors[f"{_DECODING}.0.{last}.bias"].shape[0] // (2 * sizes[0])
    rotary = network.get("pos_enc") == "rope" or any(key.endswith(".rope.freqs") for key in tensors)
    return SFCConfig(
        sample_rate=sfc_release.sample_rate(found),
        num_channels=num_channels,
        sources=sfc_release.source_names(num_sources),
        n_fft=2 * (num_freqs - 1),
        band_scale="bs-roformer",
        num_bands=table.num_bands,
        compression=BandSplitConfig(
            norm="chunk", hidden_factor=tensors[f"{_DECODING}.0.1.bias"].shape[0] // _dim(tensors)
        ),
        separator=sfc_release.separator(tensors, {**network, "pos_enc": "rope" if rotary else "nope"}),
        estimate="spectrum" if network.get("masking") is False else "mask",
        scaling="each-channel",
        frames="released",
    )


def convert_model(tensors: Tensors, config: SFCConfig) -> Tensors:
    """Names and shapes of our `SFC` with this config."""
    blocks = {name: tensor for name, tensor in tensors.items() if name.startswith("blocks.")}
    converted = sfc_authors.convert(blocks, config)
    for name, tensor in tensors.items():
        if match := _SPLIT.fullmatch(name):
            converted[f"encoder.bands.{match[1]}.{match[2]}.{match[3]}"] = tensor.reshape(tensor.shape[:2])
    for band in range(_bands(tensors)):
        converted |= {
            f"decoder.bands.{band}.{name}": tensor for name, tensor in _decoder(tensors, band, config).items()
        }
    return {f"core.{name}": tensor for name, tensor in converted.items()}


def _decoder(tensors: Tensors, band: int, config: SFCConfig) -> Tensors:
    def layer(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        name = f"{_DECODING}.{band}.{number}"
        return tensors[f"{name}.weight"].squeeze(-1), tensors[f"{name}.bias"]

    first, last = layer(1), layer(4)
    if f"{_DECODING}.{band}.2.weight" in tensors:
        first = _joined(first, layer(2))
    else:
        last = _joined(layer(3), last)
    sizes = {"half": 2, "part": 2, "output": config.num_channels * len(config.sources)}
    weight, bias = (
        rearrange(value, "(half part output freq) ... -> (half freq part output) ...", **sizes) for value in last
    )
    norm = {f"0.{kind}": tensors[f"{_DECODING}.{band}.0.{kind}"] for kind in ("weight", "bias")}
    return {**norm, "1.weight": first[0], "1.bias": first[1], "3.weight": weight, "3.bias": bias}


def _joined(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """One linear layer for two in a row."""
    (inner, inner_bias), (outer, outer_bias) = ((weight.double(), bias.double()) for weight, bias in (first, second))
    dtype = first[0].dtype
    return (outer @ inner).to(dtype), (outer @ inner_bias + outer_bias).to(dtype)


def _bands(tensors: Tensors) -> int:
    return sum(name.startswith(f"{_DECODING}.") and name.endswith(".0.weight") for name in tensors)


def _dim(tensors: Tensors) -> int:
    return tensors[f"{_DECODING}.0.0.weight"].shape[0]


def _check(network: Mapping[str, object]) -> None:
    """The published models keep to these; others are built differently."""
    for name, value in (("tf_order", "ft"), ("norm_type", "rmsgroupnorm"), ("conv1d_shift", 1)):
        if network.get(name, value) != value:
            raise WeightsError(
                f"has {name} {network[name]!r}; only {value!r} is known here", subject="this BS-Locoformer"
            )
