"""Folders in which the authors of SFC publish models (hub kohei0209/spectral_feature_compression): which config.

Beside the checkpoints lies the configuration of the run as Hydra merged it. Nothing that it names is built: numbers are
looked for in it under the argument names of the published code, and sizes are read from the shapes of the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unbraid.errors import WeightsError
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.mamba import MambaConfig
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import CompressionConfig, SFCConfig
from unbraid.weights.settings import mappings
from unbraid.weights.tensors import Tensors

_ANCHOR = "blocks.0.freq_path.attn.qkv.weight"
_DERIVED = re.compile(r"(^|\.)(window|spectrogram\..*|stft\..*|istft\..*|inverse_spectrogram\..*)$")
_SOURCES = {4: ("bass", "drums", "vocals", "other"), 3: ("dialogue", "music", "effects")}
"""The authors' order, by number of sources; they call the last three speech, music and sfx."""
_PUBLISHED = {96: (4, 4), 128: (8, 8), 192: (8, 8)}
"""Features -> groups of the norm and heads of attention in the published sizes, where the settings do not tell."""


def core_tensors(tensors: Tensors) -> Tensors:
    """The weights of the network alone: without what wraps it, and of the running average where both are kept."""
    prefixes = sorted(name.removesuffix(_ANCHOR) for name in tensors if name.endswith(_ANCHOR))
    if not prefixes:
        raise WeightsError("these are not the weights of an SFC model of its authors: no TF-Locoformer is in them")
    prefix = next((name for name in prefixes if "ema" in name.lower()), prefixes[0])
    inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return {name: value for name, value in inner.items() if not _DERIVED.search(name) and name != "n_averaged"}


def guess_config(tensors: Tensors, settings: Mapping[str, object]) -> SFCConfig:
    """The config of such a model from its core's weights and its run's settings."""
    try:
        return _config(tensors, settings)
    except (KeyError, ValueError, TypeError, StopIteration) as error:
        raise WeightsError(f"these weights are of no SFC model that is known here: {error} differs") from error


def _config(tensors: Tensors, settings: Mapping[str, object]) -> SFCConfig:
    found = list(mappings(dict(settings)))
    network = next((entry for entry in found if {"emb_dim", "n_layers"} <= set(entry)), {})
    encoder = next((entry for entry in found if {"n_bands", "n_fft"} <= set(entry)), {})
    compression, num_freqs, num_bands = _compression(tensors, encoder)
    num_channels = _num_channels(tensors, encoder)
    num_sources = _num_sources(tensors, num_channels)
    n_fft = 2 * (num_freqs - 1)
    return SFCConfig(
        sample_rate=sample_rate([encoder, *found]),
        num_channels=num_channels,
        sources=source_names(num_sources),
        n_fft=n_fft,
        num_bands=num_bands,
        compression=compression,
        separator=separator(tensors, network),
        frames="released",
    )


def source_names(num_sources: int) -> tuple[str, ...]:
    return _SOURCES.get(num_sources) or tuple(f"source{number + 1}" for number in range(num_sources))


def separator(tensors: Tensors, settings: Mapping[str, object]) -> LocoformerConfig:
    """The TF-Locoformer in the weights, whose names begin with `blocks`."""
    inner = tensors[_ANCHOR].shape[0] // 3
    dim = tensors[_ANCHOR].shape[1]
    before, after = (
        tensors[f"blocks.0.freq_path.ffn.{number}.deconv1d.weight"] for number in (1, 0)
    )  # ffn.1 runs first
    groups, heads = _PUBLISHED.get(dim, (4, 4))
    return LocoformerConfig(
        dim=dim,
        num_blocks=1 + max(int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))),
        num_groups=_integer(settings, "num_groups", groups),
        sequence=SelfAttentionConfig(
            num_heads=_integer(settings, "n_heads", heads),
            inner_dim=inner,
            positions="rotary" if settings.get("pos_enc") == "rope" else "none",
        ),
        feedforward_dims=(before.shape[0], after.shape[0]),
        kernel_size=before.shape[-1],
    )


def _compression(tensors: Tensors, settings: Mapping[str, object]) -> tuple[CompressionConfig, int, int]:
    """The config of the two halves, the number of bins, and that of bands."""
    if "encoder.input_conv.0.weight" not in tensors:
        num_bands = sum(name.startswith("encoder.norm_fc_modules.") and name.endswith("fc.bias") for name in tensors)
        return BandSplitConfig(), _integer(settings, "n_fft", 2048) // 2 + 1, num_bands
    inner = tensors["encoder.input_conv.0.weight"].shape[0]
    queries = "learnable" if "encoder.query" in tensors else "adaptive"
    bias = next((value for name, value in tensors.items() if name.endswith("pos_bias.pos_bias")), None)
    if bias is not None:
        num_bands, num_freqs = sorted(bias.shape[-2:])
    elif queries == "learnable":
        num_bands, num_freqs = tensors["encoder.query"].shape[0], tensors["decoder.query"].shape[0]
    else:
        num_bands, num_freqs = _integer(settings, "n_bands", 64), _integer(settings, "n_fft", 2048) // 2 + 1
    if any(".mixer.A_log" in name for name in tensors):
        log_rate = next(value for name, value in tensors.items() if name.endswith(".mixer.A_log"))
        conv = next(value for name, value in tensors.items() if name.endswith(".mixer.conv1d.weight"))
        mamba = MambaConfig(state_size=log_rate.shape[1], conv_size=conv.shape[-1], expand=log_rate.shape[0] // inner)
        return MambaCompressionConfig(inner_dim=inner, queries=queries, mamba=mamba), num_freqs, num_bands
    if settings.get("learnable_pos_bias", True):
        kind = "matrix"
    else:
        kind = "slope" if settings.get("learnable_slope") else "fixed"
    return (
        CrossAttentionConfig(
            inner_dim=inner,
            num_heads=bias.shape[1] if bias is not None else _integer(settings, "n_heads", 4),
            queries=queries,
            positional_bias=kind,
            mask_outside_bands=bool(settings.get("mask_outside_bands", False)),
        ),
        num_freqs,
        num_bands,
    )


def _num_channels(tensors: Tensors, settings: Mapping[str, object]) -> int:
    if "encoder.input_conv.0.weight" in tensors:
        return tensors["encoder.input_conv.0.weight"].shape[1] // 2
    return _integer(settings, "n_chan", _integer(settings, "in_channel", 2))


def _num_sources(tensors: Tensors, num_channels: int) -> int:
    if "decoder.output_conv.weight" in tensors:
        return tensors["decoder.output_conv.weight"].shape[1] // (2 * num_channels)
    # A band of the split goes in once and comes out for every source, before a gate that halves it.
    going_in = tensors["encoder.norm_fc_modules.0.norm.weight"].shape[0]
    return tensors["decoder.norm_mlp.0.output.0.bias"].shape[0] // (2 * going_in)


def sample_rate(settings: Sequence[Mapping[str, object]]) -> int:
    """The first that settings name, or that of music."""
    for entry in settings:
        for name in ("sample_rate", "sr", "fs"):
            if isinstance(value := entry.get(name), int) and value >= 1000:
                return value
    return 44_100


def _integer(settings: Mapping[str, object], name: str, otherwise: int) -> int:
    value = settings.get(name, otherwise)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
