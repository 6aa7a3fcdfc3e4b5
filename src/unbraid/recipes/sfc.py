"""Recipes for SFC: every row of the paper's tables, its ablations, and its main claim at a scale for two CPU cores.

K. Saijo, Y. Bando, "Input-Adaptive Spectral Feature Compression by Sequence Modeling for Source Separation", 2026. The
settings are those of the authors' release: AdamW at 1e-3, up over 5000 steps, level, and down by a factor every epoch
or two from two thirds or half of the run on; 32 examples a step; average of the weights over the steps and over the
five best validations. The 32 examples are eight batches of four here; with eight GPUs,  --set accumulate=1.
"""

from __future__ import annotations

from dataclasses import replace

from unbraid.data.mixing.levels import Level
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.catalog import PRESETS
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.dual_path import DualPathConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import CompressionConfig, SFCConfig
from unbraid.recipes.recipe import Recipe
from unbraid.separation.config import SeparationConfig
from unbraid.training.config import (
    AveragingConfig,
    LossConfig,
    LossTerm,
    OptimiserConfig,
    StemMixing,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
    WarmupDecay,
)

IN_CHUNKS = SeparationConfig(segment_seconds=12.0, overlap=0.5, join="average")
"""Validation as the paper's tests: chunks of 12 s every 6 s, what two share averaged."""

THRESHOLDED_SNR = LossConfig(terms=(LossTerm(name="thresholded-snr", settings={"snr_max_db": 30.0}),))


def paper(
    name: str,
    model: SFCConfig,
    *,
    drop_probability: float,
    validation: ValidationConfig,
    schedule: WarmupDecay,
    steps: int,
    per_epoch: int,
) -> TrainingConfig:
    """A run of the paper."""
    return TrainingConfig(
        name=name,
        model=model,
        mixing=StemMixing(segment_seconds=6.0, drawing=SourceDrawing(drop_probability=drop_probability)),
        loss=THRESHOLDED_SNR,
        # One group of parameters: the authors treat Mamba's like all others.
        optimiser=OptimiserConfig(name="adamw", weight_decay=1e-2, state_space_learning_rate=None),
        schedule=schedule,
        averaging=AveragingConfig(keep_best=5),
        validation=validation,
        steps=steps,
        batch_size=4,
        accumulate=8,
        save_every=per_epoch,
        precision="bf16-mixed",
    )


def musdb(name: str, model: SFCConfig) -> TrainingConfig:
    """On MUSDB18-HQ, 110 steps an epoch."""
    return paper(
        name,
        model,
        drop_probability=0.1,
        validation=ValidationConfig(every=5 * 110, items=80, piece_seconds=600.0, separation=IN_CHUNKS, metric="loss"),
        schedule=WarmupDecay(decay_from=550 * 110, decay_every=2 * 110, decay_factor=0.98),
        steps=900 * 110,
        per_epoch=110,
    )


def dnr(name: str, model: SFCConfig) -> TrainingConfig:
    """On Divide and Remaster, 1354 steps an epoch."""
    return paper(
        name,
        model,
        drop_probability=0.05,
        validation=ValidationConfig(every=1354, items=80, piece_seconds=600.0, separation=IN_CHUNKS, metric="loss"),
        schedule=WarmupDecay(decay_from=75 * 1354, decay_every=1354, decay_factor=0.96),
        steps=150 * 1354,
        per_epoch=1354,
    )


def preset(name: str) -> SFCConfig:
    """The model of this name in the catalog."""
    config = PRESETS[name]
    assert isinstance(config, SFCConfig)
    return config


MUSIC = tuple(
    Recipe(config=musdb(f"{name}-musdb", preset(name)), model=about, data="MUSDB18-HQ", row=f"SFC {row}")
    for name, about, row in (
        ("bs-small", "BS, small", "A1: 8.72 dB cSDR, 8.26 dB uSDR"),
        ("sfc-mamba-small", "SFC-Mamba, small", "A2: 8.86 dB cSDR, 8.63 dB uSDR"),
        ("sfc-ca-small", "SFC-CA, small", "A3: 9.27 dB cSDR, 8.95 dB uSDR"),
        ("bs-medium", "BS, medium", "B1: 9.42 dB cSDR, 8.79 dB uSDR"),
        ("sfc-mamba-medium", "SFC-Mamba, medium", "B2: 9.56 dB cSDR, 9.13 dB uSDR"),
        ("sfc-ca-medium", "SFC-CA, medium", "B3: 9.95 dB cSDR, 9.38 dB uSDR"),
    )
)

FILM = tuple(
    Recipe(
        config=dnr(f"{name}-dnr", preset(f"{name}-cinematic")),
        model=about,
        data="Divide and Remaster",
        row=f"SFC {row}",
    )
    for name, about, row in (
        ("bs-small", "BS, small", "C1: 11.40 dB SNR, 10.96 dB SI-SDR"),
        ("sfc-mamba-small", "SFC-Mamba, small", "C2: figure not known"),
        ("sfc-ca-small", "SFC-CA, small", "C3: 11.78 dB SNR, 11.38 dB SI-SDR"),
        ("bs-medium", "BS, medium", "D1: 11.93 dB SNR, 11.57 dB SI-SDR"),
        ("sfc-mamba-medium", "SFC-Mamba, medium", "D2: figure not known"),
        ("sfc-ca-medium", "SFC-CA, medium", "D3: 12.21 dB SNR, 11.83 dB SI-SDR"),
    )
)

_BS, _MAMBA, _CA = preset("bs-small"), preset("sfc-mamba-small"), preset("sfc-ca-small")
_GRU = DualPathConfig()
_BY_CA, _BY_MAMBA = CrossAttentionConfig(), MambaCompressionConfig()
_RATIO, _SEPARATOR, _LOCAL = "compression ratio", "another separator", "no prior about locality"
_QUERIES, _PLACES = "queries and positional bias", "queries and their places"


def _by_ca(**changes: object) -> SFCConfig:
    return replace(_CA, compression=replace(_BY_CA, **changes))  # type: ignore[arg-type]


def _by_mamba(**changes: object) -> SFCConfig:
    return replace(_MAMBA, compression=replace(_BY_MAMBA, **changes))  # type: ignore[arg-type]


ABLATIONS = tuple(
    Recipe(config=musdb(name, model), model=about, data="MUSDB18-HQ", row=f"SFC ablation: {what}")
    for name, model, about, what in (
        ("bs-small-musdb-k48", replace(_BS, num_bands=48), "BS, 48 bands", _RATIO),
        ("bs-small-musdb-k32", replace(_BS, num_bands=32), "BS, 32 bands", _RATIO),
        ("bs-small-musdb-gru", replace(_BS, separator=_GRU), "BS, dual-path GRU", _SEPARATOR),
        ("sfc-mamba-small-musdb-k48", replace(_MAMBA, num_bands=48), "SFC-Mamba, 48 bands", _RATIO),
        ("sfc-mamba-small-musdb-k32", replace(_MAMBA, num_bands=32), "SFC-Mamba, 32 bands", _RATIO),
        ("sfc-mamba-small-musdb-gru", replace(_MAMBA, separator=_GRU), "SFC-Mamba, dual-path GRU", _SEPARATOR),
        ("sfc-ca-small-musdb-k48", replace(_CA, num_bands=48), "SFC-CA, 48 bands", _RATIO),
        ("sfc-ca-small-musdb-k32", replace(_CA, num_bands=32), "SFC-CA, 32 bands", _RATIO),
        ("sfc-ca-small-musdb-gru", replace(_CA, separator=_GRU), "SFC-CA, dual-path GRU", _SEPARATOR),
        ("bs-small-musdb-full", replace(_BS, band_scale="full"), "BS, every band sees every bin", _LOCAL),
        ("sfc-ca-small-musdb-adaptive", _by_ca(queries="adaptive"), "SFC-CA, queries from the input", _QUERIES),
        ("sfc-ca-small-musdb-no-bias", _by_ca(positional_bias="none"), "SFC-CA, no positional bias", _QUERIES),
        ("sfc-ca-small-musdb-fixed", _by_ca(positional_bias="fixed"), "SFC-CA, fixed positional bias", _QUERIES),
        ("sfc-ca-small-musdb-slope", _by_ca(positional_bias="slope"), "SFC-CA, learnable slopes", _QUERIES),
        ("sfc-ca-small-musdb-masked", _by_ca(mask_outside_bands=True), "SFC-CA, each band sees its own bins", _QUERIES),
        ("sfc-mamba-small-musdb-learnable", _by_mamba(queries="learnable"), "SFC-Mamba, learnable queries", _PLACES),
        (
            "sfc-mamba-small-musdb-band-ends",
            _by_mamba(placement="band-ends"),
            "SFC-Mamba, queries at the ends of bands",
            _PLACES,
        ),
        (
            "sfc-mamba-small-musdb-spread",
            _by_mamba(placement="spread"),
            "SFC-Mamba, queries at equal distances",
            _PLACES,
        ),
    )
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

NARROW_ATTENTION = CrossAttentionConfig(inner_dim=16, num_heads=2)


def narrow(compression: CompressionConfig, num_bands: int = 32) -> SFCConfig:
    """A narrow SFC for film sound in mono at 16 kHz."""
    return SFCConfig(
        sample_rate=16_000,
        num_channels=1,
        sources=("dialogue", "music", "effects"),
        num_bands=num_bands,
        compression=compression,
        separator=NARROW,
    )


def scenes(segment_seconds: float) -> StemMixing:
    """Somebody speaks, music plays and things happen, at the levels of Divide and Remaster: dialogue at -17, music at
    -24 and effects at -21 LUFS, each within 2 dB."""

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


def scenes_run(name: str, model: SFCConfig) -> TrainingConfig:
    """ours: 1,000 steps on scenes of 2 s that are drawn on the fly."""
    return TrainingConfig(
        name=name,
        model=model,
        mixing=scenes(2.0),
        loss=THRESHOLDED_SNR,
        optimiser=OptimiserConfig(name="adamw", learning_rate=1e-3, weight_decay=0.01),
        schedule=Trapezoid(warmup_steps=300, decay_share=0.15),
        averaging=AveragingConfig(ema_decay=0.99, ema_start_step=300),
        validation=ValidationConfig(every=1000, items=100, list_name="cinematic-valid"),
        layout="corpus:cinematic",
        steps=1000,
        batch_size=4,
        save_every=250,
    )


_NARROW_MAMBA = MambaCompressionConfig(inner_dim=16)
_FREE = replace(NARROW_ATTENTION, positional_bias="none")
_SAMPLED = replace(NARROW_ATTENTION, queries="sampled", positional_bias="sampled")
_SHARED = replace(_SAMPLED, queries="shared")

COMPARISON = tuple(
    Recipe(
        config=scenes_run(f"cinematic-{name}", narrow(compression, num_bands)),
        model=about,
        data="corpus with speech/, music/ and fx/",
        row="ours: SFC's main claim at a small scale",
    )
    for name, compression, num_bands, about in (
        ("bs-64", BandSplitConfig(), 64, "BS, 64 bands"),
        ("sfc-mamba-64", _NARROW_MAMBA, 64, "SFC-Mamba, 64 bands"),
        ("sfc-ca-64", NARROW_ATTENTION, 64, "SFC-CA, 64 bands"),
        ("bs-32", BandSplitConfig(), 32, "BS, 32 bands"),
        ("sfc-mamba-32", _NARROW_MAMBA, 32, "SFC-Mamba, 32 bands"),
        ("sfc-ca-32", NARROW_ATTENTION, 32, "SFC-CA, 32 bands"),
        ("sfc-ca-32-free", _FREE, 32, "SFC-CA, 32 bands that may lie anywhere"),
    )
)

ANY_RATE = tuple(
    Recipe(
        config=scenes_run(f"cinematic-sfc-ca-{name}", replace(narrow(compression), band_scale="hertz")),
        model=about,
        data="corpus with speech/, music/ and fx/",
        row="ours: one SFC for any rate and number of bands",
    )
    for name, compression, about in (
        ("any-rate", _SAMPLED, "SFC-CA from tables over frequency"),
        ("any-rate-shared", _SHARED, "SFC-CA from one table for encoder and decoder"),
    )
)

SFC = (*MUSIC, *FILM, *ABLATIONS, *COMPARISON, *ANY_RATE)
