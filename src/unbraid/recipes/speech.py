"""Recipes for speech: our bundled models, and the runs of the S4M paper."""

from __future__ import annotations

from unbraid.data.mixing import SpeakerMixing
from unbraid.models.s4m import S4MConfig
from unbraid.recipes.recipe import Recipe
from unbraid.training.config import (
    AveragingConfig,
    LossConfig,
    LossTerm,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)


def speech() -> TrainingConfig:
    """The bundled model `speech`: an S4M small enough to be trained on two CPU cores in an afternoon.

    ours: half the hidden width of S4M-tiny, three rounds, and an encoder of 8 ms, which leaves 500 frames a second. The
    bundled weights ran their first 1,826 steps with six rounds, which cost twice as much and learned no faster.
    """
    return TrainingConfig(
        name="speech",
        model=S4MConfig(kernel_ms=8.0, hidden_dim=256, num_rounds=3),
        mixing=SpeakerMixing(segment_seconds=2.5),
        loss=LossConfig(terms=(LossTerm(name="snr"),), floor_db=-30.0),
        schedule=Trapezoid(warmup_steps=200, decay_share=0.17),
        averaging=AveragingConfig(ema_start_step=200),
        validation=ValidationConfig(every=1500, items=40, list_name="speech-valid"),
        steps=10_800,
        batch_size=4,
        save_every=250,
    )


def s4m_tiny_16k() -> TrainingConfig:
    """S4M-tiny as the paper has it at 16 kHz (2 ms, depth 5), with the declared training code's settings."""
    return TrainingConfig(
        name="s4m-tiny-16k",
        model=S4MConfig(),
        mixing=SpeakerMixing(segment_seconds=2.0, speed_range=(1.0, 1.0)),
        steps=500_000,
        batch_size=4,
    )


SPEECH = {
    "speech": Recipe(build=speech, model="S4M, 0.59 M", data="corpus of speakers, 16 kHz", row="the bundled model"),
    "s4m-tiny-16k": Recipe(build=s4m_tiny_16k, model="S4M-tiny, 1.8 M", data="corpus of speakers, 16 kHz", row="-"),
}
