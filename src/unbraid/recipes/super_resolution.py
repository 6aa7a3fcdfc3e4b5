"""Recipes for super-resolution on a cheap separator: is a large stride with it better than without?

The question is that of table 4 of the SFSRNet paper (J. Rixen, M. Renz, AAAI 2022), which asks it of DPRNN. Here it is
asked of S4M: of the bundled model `speech`, whose stride of 2 ms is four times that of the published S4M-tiny, when it
goes on learning from where it is (`--init speech`); and of small ones at 8 kHz that begin with nothing, where filters
of 4 ms are the fine form and filters of 16 ms leave a quarter of the frames. Runs of one kind draw the same mixtures
and differ in the model alone; with super-resolution the separator's estimates are judged as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unbraid.models.catalog import ModelConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.speech import PIT_SNR, speech
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


def tuned(name: str, model: ModelConfig) -> TrainingConfig:
    """Some more steps of the bundled model, to be started with `--init speech`."""
    return replace(
        strided(name, model),
        mixing=SpeakerMixing(segment_seconds=2.5),
        schedule=Trapezoid(warmup_steps=50, decay_share=0.5),
        averaging=AveragingConfig(ema_decay=0.99, ema_start_step=50),
        validation=ValidationConfig(every=250, items=40, list_name="speech-valid"),
        steps=500,
    )


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


_SPEECH = speech().model
assert isinstance(_SPEECH, S4MConfig)
_MODELS: dict[str, tuple[ModelConfig, str]] = {
    "speech-tuned": (_SPEECH, "S4M, 8 ms, --init speech"),
    "speech-tuned-sr": (
        WithSuperResolutionConfig(separator=_SPEECH, super_resolution=NARROW),
        "S4M, 8 ms, super-resolution, --init speech",
    ),
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
        return tuned(name, model) if name.startswith("speech") else strided(name, model)

    build.__doc__ = f"{about}."
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
