"""Every preset by name. To add one, add a line; to add an architecture, add its config and class to `ARCHITECTURES`."""

from __future__ import annotations

from dataclasses import fields, replace

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.models.contract import SeparationModel
from unbraid.models.s4m import S4M, S4MConfig

ModelConfig = S4MConfig
"""Union of all configs."""

ARCHITECTURES: dict[str, tuple[type[ModelConfig], type[SeparationModel]]] = {
    "s4m": (S4MConfig, S4M),
}
"""Architecture name, as weights files carry it -> config class and model class."""

PRESETS: dict[str, ModelConfig] = {
    "s4m-tiny": S4MConfig(),
    "s4m-tiny-4ms": S4MConfig(kernel_ms=4.0),
    "s4m": S4MConfig(decoder_state_space="coarse"),
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
    return model_class(config)(config).eval()  # type: ignore[call-arg]


def preset_config(name: str) -> ModelConfig:
    if name not in PRESETS:
        raise UnknownNameError(f"there is no preset {name!r}; there are: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def architecture_name(config: ModelConfig) -> str:
    return next(name for name, (config_class, _) in ARCHITECTURES.items() if type(config) is config_class)


def model_class(config: ModelConfig) -> type[SeparationModel]:
    return ARCHITECTURES[architecture_name(config)][1]
