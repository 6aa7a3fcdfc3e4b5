"""Recipes for SFSRNet: every row of the paper's tables that is its own, and its ablation at a size for a CPU.

J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022. Adam at 15e-5,
level for 50 epochs and then halved whenever three validations in a row have brought nothing, 100 epochs, gradients
clipped at 5. The paper does not say how long segments and how large batches are: ours is one segment of 4 s.

Rows with "dm" mix while they train, as SpeechBrain's recipes do: any two speakers, each at 95, 100 or 105 % speed, at
levels drawn anew, noise added after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from unbraid.data.mixing.speaker_levels import ChainedLevels, LoudnessLevels
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.catalog import ModelConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig, sfsrnet_separator
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.wrapper import SeparatorConfig, WithSuperResolutionConfig
from unbraid.recipes.recipe import Recipe
from unbraid.training.config import (
    AveragingConfig,
    GivenMixtures,
    HalveOnPlateau,
    LossConfig,
    LossTerm,
    MultiLossConfig,
    OptimiserConfig,
    SpeakerMixing,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)

SI_SNR = LossConfig(terms=(LossTerm(name="si-sdr"),))
RISING, SAME = MultiLossConfig(rates="rising"), MultiLossConfig(rates="same")
FULL = SuperResolutionConfig()
NO_HEURISTIC = replace(FULL, heuristic="none")

Data = Literal["wsj0-2mix", "libri2mix", "libri2mix-noisy"]

_MIXTURES = {"wsj0-2mix": 20_000, "libri2mix": 50_800, "libri2mix-noisy": 50_800}
_LAYOUTS = {
    "wsj0-2mix": "wsj0-mix",
    "libri2mix": "librimix:clean,train-360",
    "libri2mix-noisy": "librimix:noisy,train-360",
}
_LEVELS = {"wsj0-2mix": ChainedLevels(), "libri2mix": LoudnessLevels(), "libri2mix-noisy": LoudnessLevels()}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run: a model, what is asked of its intermediate estimates, data, and where its figure stands."""

    model: ModelConfig
    about: str
    """The model in a few words."""
    row: str
    multi_loss: MultiLossConfig | None = None
    data: Data = "wsj0-2mix"
    dynamic: bool = False
    """Mixtures are made while training, of the data set's sources."""


def sfsrnet(name: str, row: Row) -> TrainingConfig:
    """A run of the paper."""
    per_epoch = _MIXTURES[row.data]
    mixing = GivenMixtures(segment_seconds=4.0)
    if row.dynamic:
        mixing = SpeakerMixing(
            segment_seconds=4.0,
            length="min",
            levels=_LEVELS[row.data],
            speed_choices=(0.95, 1.0, 1.05),
            speaker_weights="utterances",
            utterance_weights="equal",
            noise="noise" if row.data.endswith("noisy") else None,
        )
    return TrainingConfig(
        name=name,
        model=row.model,
        mixing=mixing,
        loss=SI_SNR,
        multi_loss=row.multi_loss,
        optimiser=OptimiserConfig(learning_rate=15e-5, state_space_learning_rate=None),
        # The third validation in a row that brings nothing halves.
        schedule=HalveOnPlateau(hold_steps=50 * per_epoch, patience=2),
        averaging=AveragingConfig(ema_decay=None),
        validation=ValidationConfig(every=per_epoch, items=5000, metric="si_sdr_db"),
        layout=_LAYOUTS[row.data],
        steps=100 * per_epoch,
        batch_size=1,
        save_every=1000,
    )


def sepformer(name: str, row: Row) -> TrainingConfig:
    """A run of SepFormer's own recipe: 200 epochs, level for 85, what is better than 30 dB no longer pulls."""
    config = sfsrnet(name, row)
    per_epoch = _MIXTURES[row.data]
    return replace(
        config,
        loss=replace(SI_SNR, floor_db=-30.0),
        schedule=HalveOnPlateau(hold_steps=85 * per_epoch, patience=2),
        steps=200 * per_epoch,
    )


def small(name: str, row: Row) -> TrainingConfig:
    """The ablation at a size that two CPU cores train in minutes, on utterances with speakers such as the corpus.

    ours: 128 filters of 8 ms that advance by 4 ms, three blocks of one layer each way, and a narrow network; all rows
    see the same mixtures in the same order. The rate stays level and weights are averaged, so that runs of any equal
    number of steps may be compared.
    """
    return TrainingConfig(
        name=name,
        model=row.model,
        mixing=SpeakerMixing(segment_seconds=2.0),
        loss=SI_SNR,
        multi_loss=row.multi_loss,
        schedule=Trapezoid(warmup_steps=100, decay_share=0.0),
        averaging=AveragingConfig(ema_decay=0.995, ema_start_step=100),
        validation=ValidationConfig(every=500, items=30, list_name="speech-valid"),
        steps=2000,
        batch_size=2,
        save_every=250,
    )


def refined(separator: SeparatorConfig, network: SuperResolutionConfig) -> WithSuperResolutionConfig:
    return WithSuperResolutionConfig(separator=separator, super_resolution=network)


def ablation(separator: SepFormerConfig, network: SuperResolutionConfig) -> dict[str, tuple[ModelConfig, str]]:
    """What each row of the ablation is made of, and its name in the table; the separator has a head per block."""
    plain, blind = replace(separator, heads="last"), replace(network, heuristic="none")
    return {
        "plain": (plain, "SepFormer"),
        "same": (separator, "+ multi-loss, same sampling rates"),
        "rising": (separator, "+ multi-loss, changing sampling rates"),
        "sr": (refined(plain, blind), "+ SR without heuristics"),
        "sr-heuristic": (refined(plain, network), "+ SR with heuristics"),
        "all": (refined(separator, network), "+ multi-loss and SR with heuristics"),
    }


MULTI_LOSSES = {"plain": None, "same": SAME, "rising": RISING, "sr": SAME, "sr-heuristic": SAME, "all": RISING}
"""By row of the ablation. ours: with super-resolution alone, the separator's estimate is judged beside the refined."""

SMALL = replace(
    sfsrnet_separator(),
    dim=64,
    num_filters=128,
    kernel_samples=64,
    stride_samples=32,
    num_blocks=3,
    num_layers=1,
    sequence=SelfAttentionConfig(num_heads=4, inner_dim=64, bias=True, dropout=0.0),
    feedforward_dim=96,
)
SMALL_NETWORK = SuperResolutionConfig(hidden_dims=(8, 8, 8), kernel_sizes=(5, 5, 5, 5))


def _rows() -> dict[str, tuple[Callable[[str, Row], TrainingConfig], Row]]:
    rows: dict[str, tuple[Callable[[str, Row], TrainingConfig], Row]] = {}
    published: dict[tuple[Data, bool], tuple[str, str]] = {
        ("wsj0-2mix", False): ("table 1: 22.0 dB SI-SDRi, 22.1 dB SDRi", "table 1: 20.4 dB SI-SDRi, 20.5 dB SDRi"),
        ("wsj0-2mix", True): ("table 1: 24.0 dB SI-SDRi, 24.1 dB SDRi", "table 1: 22.3 dB SI-SDRi, 22.4 dB SDRi"),
        ("libri2mix", False): ("table 2: figure not known", "table 2: figure not known"),
        ("libri2mix", True): ("table 2: figure not known", "table 2: figure not known"),
        ("libri2mix-noisy", False): ("table 2: figure not known", "table 2: figure not known"),
        ("libri2mix-noisy", True): ("table 2: figure not known", "table 2: figure not known"),
    }
    for (data, dynamic), (ours, theirs) in published.items():
        name = f"{data}-dm" if dynamic else data
        model = refined(sfsrnet_separator(), FULL)
        rows[f"sfsrnet-{name}"] = (
            sfsrnet,
            Row(
                model=model, about="SFSRNet, 58 M", row=f"SFSRNet {ours}", multi_loss=RISING, data=data, dynamic=dynamic
            ),
        )
        rows[f"sepformer-{name}"] = (
            sepformer,
            Row(model=SepFormerConfig(), about="SepFormer, 26 M", row=f"SFSRNet {theirs}", data=data, dynamic=dynamic),
        )
    figures = {"plain": 22.5, "same": 23.1, "rising": 23.5, "sr": 22.9, "sr-heuristic": 23.3}
    for key, (model, what) in ablation(sfsrnet_separator(), FULL).items():
        if key in figures:  # the last row stands in table 1
            rows[f"sfsrnet-ablation-{key}"] = (
                sfsrnet,
                Row(
                    model=model,
                    about="the separator of SFSRNet" if key == "plain" else what,
                    row=f"SFSRNet table 3: {what}, {figures[key]} dB SI-SDRi",
                    multi_loss=MULTI_LOSSES[key],
                    dynamic=True,
                ),
            )
    strided: dict[str, tuple[SeparatorConfig, str]] = {
        "sepformer": (SepFormerConfig(kernel_samples=64, stride_samples=32), "SepFormer, stride 32"),
        "s4m": (S4MConfig(sample_rate=8000, kernel_ms=16.0), "S4M-tiny, stride 32"),
    }
    for key, (separator, about) in strided.items():
        row = Row(model=separator, about=about, row="ours, after SFSRNet table 4, which has DPRNN")
        rows[f"sfsrnet-strided-{key}"] = sfsrnet, row
        with_network = replace(row, model=refined(separator, NO_HEURISTIC), about=f"{about}, with SR", multi_loss=SAME)
        rows[f"sfsrnet-strided-{key}-sr"] = sfsrnet, with_network
    for key, (model, what) in ablation(SMALL, SMALL_NETWORK).items():
        rows[f"sfsrnet-small-{key}"] = small, Row(
            model=model, about="a small SepFormer" if key == "plain" else what, row="ours: SFSRNet table 3 on a CPU",
            multi_loss=MULTI_LOSSES[key],
        )  # fmt: skip
    return rows


def _recipe(name: str, build_run: Callable[[str, Row], TrainingConfig], row: Row) -> Recipe:
    data = "utterances with speakers" if build_run is small else _DATA_NAMES[row.data]

    def build() -> TrainingConfig:
        return build_run(name, row)

    build.__doc__ = f"{row.about}, on {data}: {row.row}."
    return Recipe(build=build, model=row.about, data=data, row=row.row)


_DATA_NAMES = {"wsj0-2mix": "WSJ0-2mix", "libri2mix": "Libri2Mix", "libri2mix-noisy": "Libri2Mix, noisy"}

SFSRNET = {name: _recipe(name, build_run, row) for name, (build_run, row) in _rows().items()}
