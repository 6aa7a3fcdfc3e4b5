"""Every preset by name. To add one, add a line; to add an architecture, add its config and class to `ARCHITECTURES`."""

from __future__ import annotations

from dataclasses import fields, replace

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.contract import SeparationModel
from unbraid.models.dprnn.model import DPRNN, DPRNNConfig
from unbraid.models.ensemble.model import Ensemble, EnsembleConfig
from unbraid.models.mtfa.model import MTFA, MTFAConfig
from unbraid.models.packaged.demucs import DemucsConfig, PackagedDemucs
from unbraid.models.packaged.pymss import PackagedPymss, PymssConfig
from unbraid.models.resunet.model import ResUNet, ResUNetConfig
from unbraid.models.s4m.causal import CausalS4M, CausalS4MConfig
from unbraid.models.s4m.model import S4M, S4MConfig
from unbraid.models.sepformer.model import SepFormer, SepFormerConfig, sfsrnet_separator
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.filterbank import FilterbankConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import SFC, SFCConfig
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.post_filter import PostFilterConfig
from unbraid.models.super_resolution.wrapper import NetworkConfig, WithSuperResolution, WithSuperResolutionConfig

ModelConfig = NetworkConfig | WithSuperResolutionConfig | DemucsConfig | PymssConfig | EnsembleConfig
"""Union of all configs; to add one, add it to `NetworkConfig`."""

ARCHITECTURES: dict[str, tuple[type[ModelConfig], type[SeparationModel]]] = {
    "demucs": (DemucsConfig, PackagedDemucs),
    "dprnn": (DPRNNConfig, DPRNN),
    "ensemble": (EnsembleConfig, Ensemble),
    "mtfa": (MTFAConfig, MTFA),
    "pymss": (PymssConfig, PackagedPymss),
    "resunet": (ResUNetConfig, ResUNet),
    "s4m": (S4MConfig, S4M),
    "s4m-causal": (CausalS4MConfig, CausalS4M),
    "sfc": (SFCConfig, SFC),
    "sepformer": (SepFormerConfig, SepFormer),
    "with-super-resolution": (WithSuperResolutionConfig, WithSuperResolution),
}
"""Architecture name, as weights files carry it -> config class and model class."""

SMALL = LocoformerConfig()
"""TF-Locoformer of SFC's small models."""

MEDIUM = LocoformerConfig(
    dim=128,
    num_blocks=6,
    num_groups=8,
    sequence=SelfAttentionConfig(num_heads=8, inner_dim=128),
    feedforward_dims=(192, 192),
)
"""TF-Locoformer of SFC's medium models."""

MUSIC = SFCConfig()
"""Stereo, four stems, as for MUSDB18-HQ."""

TINY = LocoformerConfig(
    dim=64,
    num_blocks=1,
    sequence=SelfAttentionConfig(num_heads=2, inner_dim=32, dropout=0.0),
    feedforward_dims=(64, 64),
    kernel_size=4,
    dropout=0.0,
)
"""ours: a separator for few bands, that two CPU cores can train for music."""

CINEMATIC = SFCConfig(num_channels=1, sources=("dialogue", "music", "effects"))
"""Mono, three stems, as for Divide and Remaster."""

NARROW_SUPER_RESOLUTION = SuperResolutionConfig(hidden_dims=(16, 32, 16), kernel_sizes=(5, 9, 11, 11))
"""ours: an eighth of the paper's channels, for small separators."""

PRESETS: dict[str, ModelConfig] = {
    "s4m-tiny": S4MConfig(),
    "s4m-tiny-4ms": S4MConfig(kernel_ms=4.0),
    "s4m-live": CausalS4MConfig(),
    "s4m": S4MConfig(decoder_state_space="coarse"),
    "s4m-tiny-super-resolution": WithSuperResolutionConfig(
        separator=S4MConfig(kernel_ms=16.0), super_resolution=NARROW_SUPER_RESOLUTION
    ),
    "s4m-tiny-post-filter": WithSuperResolutionConfig(separator=S4MConfig(), super_resolution=PostFilterConfig()),
    "dprnn": DPRNNConfig(),
    "sepformer": SepFormerConfig(),
    "sfsrnet": WithSuperResolutionConfig(separator=sfsrnet_separator(), super_resolution=SuperResolutionConfig()),
    "sfc-ca-small": replace(MUSIC, compression=CrossAttentionConfig(inner_dim=64), separator=SMALL),
    "sfc-ca-medium": replace(MUSIC, compression=CrossAttentionConfig(inner_dim=96), separator=MEDIUM),
    "sfc-mamba-small": replace(MUSIC, compression=MambaCompressionConfig(inner_dim=32), separator=SMALL),
    "sfc-mamba-medium": replace(MUSIC, compression=MambaCompressionConfig(inner_dim=48), separator=MEDIUM),
    "bs-small": replace(MUSIC, compression=BandSplitConfig(), separator=SMALL),
    "bs-medium": replace(MUSIC, compression=BandSplitConfig(), separator=MEDIUM),
    "sfc-ca-small-cinematic": replace(CINEMATIC, compression=CrossAttentionConfig(inner_dim=64), separator=SMALL),
    "sfc-ca-medium-cinematic": replace(CINEMATIC, compression=CrossAttentionConfig(inner_dim=96), separator=MEDIUM),
    "sfc-mamba-small-cinematic": replace(CINEMATIC, compression=MambaCompressionConfig(inner_dim=32), separator=SMALL),
    "sfc-mamba-medium-cinematic": replace(
        CINEMATIC, compression=MambaCompressionConfig(inner_dim=48), separator=MEDIUM
    ),
    "bs-small-cinematic": replace(CINEMATIC, compression=BandSplitConfig(), separator=SMALL),
    "bs-medium-cinematic": replace(CINEMATIC, compression=BandSplitConfig(), separator=MEDIUM),
    "fb-tiny": replace(
        MUSIC,
        sources=("vocals", "drums", "bass", "other"),
        n_fft=4096,
        num_bands=8,
        compression=FilterbankConfig(),
        separator=TINY,
    ),
    "resunet": ResUNetConfig(),
    "mtfa": MTFAConfig(),
    "mtfa-small": MTFAConfig(sources=("bass", "drums", "vocals", "other"), width=0.25),
}


def build_model(preset: str | ModelConfig, **overrides: object) -> SeparationModel:
    """A model with random weights, in evaluation mode.

    Overrides are fields of the preset's config: `build_model("s4m-tiny", sample_rate=8000, num_rounds=8)`.
    """
    config = preset_config(preset) if isinstance(preset, str) else preset
    known = {field.name for field in fields(config)}
    if unknown := sorted(set(overrides) - known):
        raise ConfigError(f"{type(config).__name__} has no setting {unknown[0]!r}; it has: {', '.join(sorted(known))}")
    config = replace(config, **overrides)  # type: ignore[arg-type]
    return _assembled(config).eval()


def _assembled(config: ModelConfig) -> SeparationModel:
    if isinstance(config, WithSuperResolutionConfig):
        return WithSuperResolution(_assembled(config.separator), config.super_resolution, config.both_polarities)
    if isinstance(config, EnsembleConfig):
        return Ensemble([_assembled(member) for member in config.members], config)
    return model_class(config)(config)  # type: ignore[call-arg]


def preset_config(name: str) -> ModelConfig:
    if name not in PRESETS:
        raise UnknownNameError(f"there is no preset {name!r}; there are: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def config_of(model: SeparationModel) -> ModelConfig:
    """The config of a model of the catalog, from which it can be stored and built again."""
    if not isinstance(model.config, ModelConfig):
        raise ConfigError(
            f"{type(model).__name__} with a {type(model.config).__name__} is not of the catalog and cannot be stored"
        )
    return model.config


def architecture_name(config: ModelConfig) -> str:
    return next(name for name, (config_class, _) in ARCHITECTURES.items() if type(config) is config_class)


def model_class(config: ModelConfig) -> type[SeparationModel]:
    return ARCHITECTURES[architecture_name(config)][1]
