"""Recipes for SFC: every row of the paper's tables and every ablation that it names, on MUSDB18-HQ and on DnR.

K. Saijo, Y. Bando, "Input-Adaptive Spectral Feature Compression by Sequence Modeling for Source Separation", 2026. The
settings are those of the authors' release: AdamW at 1e-3, up over 5000 steps, level, and down by a factor every epoch
or two from two thirds or half of the run on; 32 examples a step; average of the weights over the steps and over the
five best validations. The 32 examples are eight batches of four here; with eight GPUs,  --set accumulate=1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.models.catalog import PRESETS
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.dual_path import DualPathConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import SFCConfig
from unbraid.recipes.recipe import Recipe
from unbraid.training.config import (
    AveragingConfig,
    LossConfig,
    LossTerm,
    OptimiserConfig,
    StemMixing,
    TrainingConfig,
    ValidationConfig,
    WarmupDecay,
)

Data = Literal["musdb", "dnr"]

THRESHOLDED_SNR = LossConfig(terms=(LossTerm(name="thresholded-snr", settings={"snr_max_db": 30.0}),))


@dataclass(frozen=True)
class Row:
    """One run: a model, a data set, and where its figure stands."""

    model: SFCConfig
    data: Data
    about: str
    """The model in a few words."""
    row: str


def sfc(name: str, model: SFCConfig, data: Data) -> TrainingConfig:
    """A run of the paper."""
    per_epoch = {"musdb": 110, "dnr": 1354}[data]
    epochs, decay_epoch, every, factor = {"musdb": (900, 550, 2, 0.98), "dnr": (150, 75, 1, 0.96)}[data]
    return TrainingConfig(
        name=name,
        model=model,
        mixing=StemMixing(
            segment_seconds=6.0, drawing=SourceDrawing(drop_probability={"musdb": 0.1, "dnr": 0.05}[data])
        ),
        loss=THRESHOLDED_SNR,
        # One group of parameters: the authors treat Mamba's like all others.
        optimiser=OptimiserConfig(name="adamw", weight_decay=1e-2, state_space_learning_rate=None),
        schedule=WarmupDecay(decay_from=decay_epoch * per_epoch, decay_every=every * per_epoch, decay_factor=factor),
        averaging=AveragingConfig(keep_best=5),
        validation=ValidationConfig(
            every={"musdb": 5, "dnr": 1}[data] * per_epoch, items=80, piece_seconds=12.0, metric="loss"
        ),
        steps=epochs * per_epoch,
        batch_size=4,
        accumulate=8,
        save_every=per_epoch,
        precision="bf16-mixed",
    )


def _rows() -> dict[str, Row]:
    """By the name of the recipe."""
    rows: dict[str, Row] = {}
    published = {
        "bs-small": ("BS, small", "A1: 8.72 dB cSDR, 8.26 dB uSDR", "C1: 11.40 dB SNR, 10.96 dB SI-SDR"),
        "sfc-mamba-small": ("SFC-Mamba, small", "A2: 8.86 dB cSDR, 8.63 dB uSDR", "C2: figure not known"),
        "sfc-ca-small": ("SFC-CA, small", "A3: 9.27 dB cSDR, 8.95 dB uSDR", "C3: 11.78 dB SNR, 11.38 dB SI-SDR"),
        "bs-medium": ("BS, medium", "B1: 9.42 dB cSDR, 8.79 dB uSDR", "D1: 11.93 dB SNR, 11.57 dB SI-SDR"),
        "sfc-mamba-medium": ("SFC-Mamba, medium", "B2: 9.56 dB cSDR, 9.13 dB uSDR", "D2: figure not known"),
        "sfc-ca-medium": ("SFC-CA, medium", "B3: 9.95 dB cSDR, 9.38 dB uSDR", "D3: 12.21 dB SNR, 11.83 dB SI-SDR"),
    }
    for preset, (about, music, cinematic) in published.items():
        rows[f"{preset}-musdb"] = Row(_model(preset), "musdb", about, f"SFC {music}")
        rows[f"{preset}-dnr"] = Row(_model(f"{preset}-cinematic"), "dnr", about, f"SFC {cinematic}")

    def ablation(name: str, preset: str, about: str, what: str, **changes: object) -> None:
        model = replace(_model(preset), **changes)  # type: ignore[arg-type]
        rows[f"{preset}-musdb-{name}"] = Row(model, "musdb", about, f"SFC ablation: {what}")

    for preset, about in (("bs-small", "BS"), ("sfc-mamba-small", "SFC-Mamba"), ("sfc-ca-small", "SFC-CA")):
        for num_bands in (48, 32):
            ablation(f"k{num_bands}", preset, f"{about}, {num_bands} bands", "compression ratio", num_bands=num_bands)
        ablation("gru", preset, f"{about}, dual-path GRU", "another separator", separator=DualPathConfig())
    ablation("full", "bs-small", "BS, every band sees every bin", "no prior about locality", band_scale="full")
    attention = CrossAttentionConfig()
    for name, about, changed in (
        ("adaptive", "SFC-CA, queries from the input", replace(attention, queries="adaptive")),
        ("no-bias", "SFC-CA, no positional bias", replace(attention, positional_bias="none")),
        ("slope", "SFC-CA, learnable slopes", replace(attention, positional_bias="slope")),
        ("masked", "SFC-CA, each band sees its own bins", replace(attention, mask_outside_bands=True)),
    ):
        ablation(name, "sfc-ca-small", about, "queries and positional bias", compression=changed)
    mamba = MambaCompressionConfig()
    for name, about, changed in (
        ("learnable", "SFC-Mamba, learnable queries", replace(mamba, queries="learnable")),
        ("band-ends", "SFC-Mamba, queries at the ends of bands", replace(mamba, placement="band-ends")),
        ("spread", "SFC-Mamba, queries at equal distances", replace(mamba, placement="spread")),
    ):
        ablation(name, "sfc-mamba-small", about, "queries and their places", compression=changed)
    return rows


def _model(preset: str) -> SFCConfig:
    config = PRESETS[preset]
    assert isinstance(config, SFCConfig)
    return config


def _builder(name: str, row: Row) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        return sfc(name, row.model, row.data)

    build.__doc__ = f"{row.about}, on {_DATA_NAMES[row.data]}: {row.row}."
    return build


_DATA_NAMES = {"musdb": "MUSDB18-HQ", "dnr": "Divide and Remaster"}

SFC = {
    name: Recipe(build=_builder(name, row), model=row.about, data=_DATA_NAMES[row.data], row=row.row)
    for name, row in _rows().items()
}
