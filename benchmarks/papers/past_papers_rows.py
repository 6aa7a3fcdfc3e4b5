"""The rows of `past_papers.py`: groups of models that are trained alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from unbraid.data.items import Split
from unbraid.layers.axis_attention import Gate, TemporalFrequencyConfig
from unbraid.models.catalog import ModelConfig
from unbraid.models.contract import SeparationModel
from unbraid.models.mtfa.model import MTFAConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.recipes import RECIPES
from unbraid.recipes.mtfa import AT_LEVELS, BARE, laptop
from unbraid.recipes.sfsrnet import NARROW, NARROW_COMPLEX, NARROW_TIME, refined, strided
from unbraid.training.config import TrainingConfig


def nothing(model: SeparationModel) -> str:
    return ""


@dataclass(frozen=True)
class Group:
    """What its rows have in common."""

    name: str

    about: str

    layout: str

    cpu_seconds: float
    """Of training, for every row."""

    steps: int
    """At which rows are compared as well."""

    batch_size: int

    num_test: int

    measures: tuple[str, ...]

    num_batches: int = 80
    """Different ones; then they come again."""

    warmup_steps: int = 20

    averaged: float = 0.98
    """Decay of the average of weights; 0 for models with batch norms, whose statistics belong to one set of them."""

    split: Split = "test"
    """From which the test items are drawn, by the same mixing."""


@dataclass(frozen=True)
class Row:
    """One model of a group."""

    name: str

    group: Group

    config: TrainingConfig

    about: str

    learned: Callable[[SeparationModel], str] = nothing
    """What is worth saying of the trained weights."""

    @property
    def examples(self) -> str:
        """Rows of one group at one rate see the same ones."""
        model = self.config.model
        network = model.separator if isinstance(model, WithSuperResolutionConfig) else model
        return f"{self.group.name}-{network.sample_rate}"  # type: ignore[union-attr]


MUSIC = Group(
    name="mtfa",
    about="an eighth of MTFA, vocals and drums, mono at 8 kHz; test items of one song and ten renderings, all unheard",
    layout="corpus:music",
    cpu_seconds=50.0,
    steps=220,
    batch_size=4,
    num_test=32,
    measures=("vocals SDR", "drums SDR", "vocals SI-SDRi", "drums SI-SDRi"),
    averaged=0.0,
    split="valid",
)


def music(name: str, model: MTFAConfig, about: str, learned: Callable[[SeparationModel], str] = nothing) -> Row:
    """Half the rate of the recipes that take a laptop half an hour, and shorter examples."""
    config = laptop(name, model)
    small = replace(config.model, sample_rate=8000, n_fft=256, hop=128, units=1)
    return Row(
        name, MUSIC, replace(config, model=small, mixing=replace(config.mixing, segment_seconds=2.0)), about, learned
    )


def gates(model: SeparationModel) -> str:
    """How far the gates have opened."""
    found = [gate.weight.detach().abs().mean() for gate in model.modules() if isinstance(gate, Gate)]
    return f"mean size of the gates {torch.stack(found).mean():.4f}, of the widest {max(found):.4f}"


GATED = TemporalFrequencyConfig(branches="gated")

SPEECH = Group(
    name="s4m",
    about="S4M at 8 kHz, 64 and 128 features, four rounds, two speakers; test mixtures of unheard speakers",
    layout="corpus:speech",
    cpu_seconds=60.0,
    steps=200,
    batch_size=2,
    num_test=40,
    num_batches=200,
    measures=("both SI-SDRi",),
)

S4M = S4MConfig(sample_rate=8000, kernel_ms=8.0, bottleneck_dim=64, hidden_dim=128, num_rounds=4)


def speech(name: str, model: ModelConfig, about: str, group: Group = SPEECH) -> Row:
    """As the recipes that put super-resolution on a strided S4M."""
    config = strided(name, model)
    return Row(name, group, replace(config, mixing=replace(config.mixing, segment_seconds=1.5)), about)


STRIDED = replace(
    SPEECH,
    name="sr",
    about="super-resolution on S4M at 8 kHz with filters of 16 ms, 64 and 128 features, three rounds, two speakers",
    cpu_seconds=30.0,
    steps=100,
)

COARSE = replace(S4M, kernel_ms=16.0, num_rounds=3)

FILM = Group(
    name="sfc",
    about="SFC-CA at 16 kHz, 32 bands, 16 inner features; dialogue, music and effects; scenes of unheard sounds",
    layout="corpus:cinematic",
    cpu_seconds=80.0,
    steps=60,
    batch_size=2,
    num_test=40,
    num_batches=100,
    measures=("dialogue SI-SDRi", "music SI-SDRi", "effects SI-SDRi"),
)


def film(name: str, recipe: str, about: str) -> Row:
    return Row(name, FILM, RECIPES[recipe].config, about)


_ALL = (
    music("mtfa-none", BARE, "the U-Net without attention"),
    music("mtfa-levels", AT_LEVELS, "attention at several levels, as published"),
    music("mtfa-gated", replace(AT_LEVELS, attention=GATED), "its branches begin at the identity", gates),
    speech("s4m-5-levels", S4M, "five levels, S4 at the coarsest, as published"),
    *(
        speech(f"s4m-{depth}-level{'s' * (depth > 1)}", replace(S4M, depth=depth), f"levels: {depth}")
        for depth in (1, 2, 3)
    ),
    speech("s4m-mamba", replace(S4M, coarsest="mamba"), "five levels, Mamba at the coarsest"),
    speech("s4m-attention", replace(S4M, coarsest="attention"), "five levels, attention at the coarsest"),
    film("sfc-queries", "cinematic-sfc-ca-32", "a query for every band and bin, as published"),
    film("sfc-any-rate", "cinematic-sfc-ca-any-rate", "queries of bands and bins from tables over frequency"),
    film("sfc-any-rate-shared", "cinematic-sfc-ca-any-rate-shared", "one table for both halves"),
    speech("sr-none", COARSE, "no super-resolution", STRIDED),
    speech("sr-magnitude", refined(COARSE, NARROW), "of magnitudes, as published", STRIDED),
    speech("sr-complex", refined(COARSE, NARROW_COMPLEX), "of complex spectra", STRIDED),
    speech("sr-time", refined(COARSE, NARROW_TIME), "of waveforms", STRIDED),
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
