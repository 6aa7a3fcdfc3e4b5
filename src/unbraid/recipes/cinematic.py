"""Recipes for film sound: our bundled model `cinematic`, and SFC's main claim at a scale that two CPU cores can train.

K. Saijo, Y. Bando, "Input-Adaptive Spectral Feature Compression by Sequence Modeling for Source Separation", 2026. The
mixtures follow Divide and Remaster: dialogue at -17, music at -24 and effects at -21 LUFS, each within 2 dB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unbraid.data.mixing.levels import Level
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import CompressionConfig, SFCConfig
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.sfc import THRESHOLDED_SNR
from unbraid.training.config import (
    AveragingConfig,
    OptimiserConfig,
    StemMixing,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)

NARROW = LocoformerConfig(
    dim=48,
    num_blocks=2,
    sequence=SelfAttentionConfig(num_heads=2, inner_dim=32, dropout=0.0),
    feedforward_dims=(64, 64),
    kernel_size=4,
    dropout=0.0,
)
"""ours: a separator of half the small one's depth and width. Dropout costs a CPU a tenth of the time and so little
training does not need it."""


def cinematic_model(compression: CompressionConfig, num_bands: int = 32) -> SFCConfig:
    """A narrow SFC for mono at 16 kHz."""
    return SFCConfig(
        sample_rate=16_000,
        num_channels=1,
        sources=("dialogue", "music", "effects"),
        num_bands=num_bands,
        compression=compression,
        separator=NARROW,
    )


def scenes(segment_seconds: float) -> StemMixing:
    """Somebody speaks, music plays and things happen, at the levels of Divide and Remaster."""

    def at(mean_db: float) -> Level:
        return Level(mean_db=mean_db, spread_db=2.0, measure="lufs")

    event = Level(mean_db=-21.0, spread_db=4.0, measure="lufs")
    return StemMixing(
        segment_seconds=segment_seconds,
        drawings={
            "dialogue": SourceDrawing(level=at(-17.0), drop_probability=0.1),
            "music": SourceDrawing(level=at(-24.0), drop_probability=0.1),
            "effects": SourceDrawing(
                level=at(-21.0),
                drop_probability=0.1,
                num_pieces=(1, 2),
                piece_seconds=(0.5, segment_seconds),
                piece_level=event,
            ),
        },
    )


def cinematic() -> TrainingConfig:
    """The bundled model `cinematic`: an SFC-CA small enough to be trained on two CPU cores.

    ours: everything but the kind of compression, the loss and the levels of the mixtures.
    """
    return TrainingConfig(
        name="cinematic",
        model=cinematic_model(CrossAttentionConfig(inner_dim=16, num_heads=2)),
        mixing=scenes(2.0),
        loss=THRESHOLDED_SNR,
        optimiser=OptimiserConfig(name="adamw", learning_rate=1e-3, weight_decay=0.01),
        schedule=Trapezoid(warmup_steps=300, decay_share=0.15),
        averaging=AveragingConfig(ema_start_step=300),
        validation=ValidationConfig(every=1000, items=100, list_name="cinematic-valid"),
        layout="corpus:cinematic",
        steps=40_000,
        batch_size=4,
        save_every=250,
    )


def _comparison() -> dict[str, tuple[str, SFCConfig]]:
    """What the paper compares, by the recipe's name: in a few words, and the model."""
    attention = CrossAttentionConfig(inner_dim=16, num_heads=2)
    kinds: dict[str, tuple[str, CompressionConfig]] = {
        "bs": ("BS", BandSplitConfig()),
        "sfc-mamba": ("SFC-Mamba", MambaCompressionConfig(inner_dim=16)),
        "sfc-ca": ("SFC-CA", attention),
    }
    rows = {
        f"cinematic-{kind}-{num_bands}": (f"{about}, {num_bands} bands", cinematic_model(compression, num_bands))
        for num_bands in (64, 32)
        for kind, (about, compression) in kinds.items()
    }
    free = replace(attention, positional_bias="none")
    rows["cinematic-sfc-ca-32-free"] = ("SFC-CA, 32 bands that may lie anywhere", cinematic_model(free))
    return rows


def _builder(name: str, about: str, model: SFCConfig) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        averaging = AveragingConfig(ema_decay=0.99, ema_start_step=300)
        return replace(cinematic(), name=name, model=model, steps=1000, averaging=averaging)

    build.__doc__ = f"{about}, on the scenes of the bundled model, 1,000 steps."
    return build


CINEMATIC = {
    "cinematic": Recipe(
        build=cinematic,
        model="SFC-CA, 0.40 M",
        data="corpus with speech/, music/ and fx/",
        row="the bundled model",
    ),
    **{
        name: Recipe(
            build=_builder(name, about, model),
            model=about,
            data="corpus with speech/, music/ and fx/",
            row="ours: SFC's main claim at a small scale",
        )
        for name, (about, model) in _comparison().items()
    },
}
