"""Recipes for super-resolution on a cheap separator: is a large stride with it better than without, and than none?

The question is that of table 4 of the SFSRNet paper (J. Rixen, M. Renz, AAAI 2022), which asks it of DPRNN. Here it is
asked of a small S4M at 8 kHz: filters of 4 ms are the fine form, filters of 16 ms leave a quarter of the frames. All
runs draw the same mixtures and differ in the model alone; with super-resolution the separator's estimates are judged
as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unbraid.models.catalog import ModelConfig
from unbraid.models.s4m import S4MConfig
from unbraid.models.super_resolution import SuperResolutionConfig
from unbraid.models.with_super_resolution import WithSuperResolutionConfig
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.speech import PIT_SNR
from unbraid.training.config import (
    AveragingConfig,
    MultiLossConfig,
    SpeakerMixing,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)

FINE = S4MConfig(sample_rate=8000, kernel_ms=4.0, hidden_dim=256, num_rounds=3)
STRIDED = replace(FINE, kernel_ms=16.0)
NARROW = SuperResolutionConfig(hidden_dims=(8, 16, 8), kernel_sizes=(5, 5, 5, 5), heuristic="none")
"""ours: narrow enough for a separator of half a million parameters; without the guess, as in the paper's table."""


def strided(name: str, model: ModelConfig) -> TrainingConfig:
    """One run of the comparison, some ten minutes on a CPU core."""
    return TrainingConfig(
        name=name,
        model=model,
        mixing=SpeakerMixing(segment_seconds=2.0),
        loss=PIT_SNR,
        multi_loss=MultiLossConfig(rates="same") if isinstance(model, WithSuperResolutionConfig) else None,
        schedule=Trapezoid(warmup_steps=100, decay_share=0.25),
        averaging=AveragingConfig(ema_decay=0.99, ema_start_step=100),
        validation=ValidationConfig(every=400, items=40, list_name="speech-valid"),
        layout="corpus:speech",
        steps=1200,
        batch_size=4,
        save_every=100,
    )


_MODELS: dict[str, tuple[ModelConfig, str]] = {
    "s4m-fine": (FINE, "S4M, 4 ms"),
    "s4m-strided": (STRIDED, "S4M, 16 ms"),
    "s4m-strided-sr": (
        WithSuperResolutionConfig(separator=STRIDED, super_resolution=NARROW),
        "S4M, 16 ms, super-resolution",
    ),
    "s4m-strided-sr-guess": (
        WithSuperResolutionConfig(
            separator=STRIDED, super_resolution=replace(NARROW, heuristic="mixture-over-estimate")
        ),
        "S4M, 16 ms, super-resolution with guess",
    ),
}


def _builder(name: str, model: ModelConfig, about: str) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        return strided(name, model)

    build.__doc__ = f"{about}, on speech at 8 kHz."
    return build


SUPER_RESOLUTION = {
    name: Recipe(
        build=_builder(name, model, about),
        model=about,
        data="utterances with speakers",
        row="ours, after SFSRNet table 4: super-resolution on a strided separator",
    )
    for name, (model, about) in _MODELS.items()
}
