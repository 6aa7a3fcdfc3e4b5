"""Recipes for SFSRNet: the rows of the paper's tables that are its own, and its questions at a size for a CPU.

J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022. Adam at 15e-5,
level for 50 epochs and then halved whenever three validations in a row have brought nothing, 100 epochs, gradients
clipped at 5. The paper does not say how long segments and how large batches are: ours is one segment of 4 s.

Rows with "dm" mix while they train, as SpeechBrain's recipes do, WSJ0-2mix from WSJ0 itself (a folder with wsj0/ and
wsj0-mix/; who has the mixtures alone adds  --set layout=wsj0-mix): any two speakers, each at 95, 100 or 105 % speed, at
levels drawn anew, noise added after.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from unbraid.data.mixing.speaker_levels import ChainedLevels, LoudnessLevels
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.catalog import ModelConfig
from unbraid.models.dprnn.model import DPRNNConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig, sfsrnet_separator
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.time_domain import TimeSuperResolutionConfig
from unbraid.models.super_resolution.wrapper import NetworkConfig, RefinementConfig, WithSuperResolutionConfig
from unbraid.recipes.bundled import SPEECH_MODEL
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.s4m import PIT_SNR
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

Data = Literal["wsj0-2mix", "libri2mix", "libri2mix-noisy"]

_DATA_NAMES = {"wsj0-2mix": "WSJ0-2mix", "libri2mix": "Libri2Mix", "libri2mix-noisy": "Libri2Mix, noisy"}
_MIXTURES = {"wsj0-2mix": 20_000, "libri2mix": 50_800, "libri2mix-noisy": 50_800}
_LAYOUTS = {
    "wsj0-2mix": "wsj0-mix",
    "libri2mix": "librimix:clean,train-360",
    "libri2mix-noisy": "librimix:noisy,train-360",
}
_RAW_WSJ0 = "wsj0"
_LEVELS = {"wsj0-2mix": ChainedLevels(), "libri2mix": LoudnessLevels(), "libri2mix-noisy": LoudnessLevels()}


def drawn(data: Data) -> SpeakerMixing:
    """Mixtures made while training, of the data set's sources."""
    return SpeakerMixing(
        segment_seconds=4.0,
        length="min",
        levels=_LEVELS[data],
        speed_choices=(0.95, 1.0, 1.05),
        speaker_weights="utterances",
        utterance_weights="equal",
        noise="noise" if data.endswith("noisy") else None,
    )


def sfsrnet(
    name: str,
    model: ModelConfig,
    multi_loss: MultiLossConfig | None = None,
    data: Data = "wsj0-2mix",
    *,
    dynamic: bool = False,
) -> TrainingConfig:
    """A run of the paper, on given mixtures or on those that `drawn` makes.

    WSJ0-2mix is drawn from all utterances of WSJ0's si_tr_s, and validated on the mixtures of its split cv.
    """
    per_epoch = _MIXTURES[data]
    drawn_from_raw = dynamic and data == "wsj0-2mix"
    return TrainingConfig(
        name=name,
        model=model,
        mixing=drawn(data) if dynamic else GivenMixtures(segment_seconds=4.0),
        loss=SI_SNR,
        multi_loss=multi_loss,
        optimiser=OptimiserConfig(learning_rate=15e-5, state_space_learning_rate=None),
        # The third validation in a row that brings nothing halves.
        schedule=HalveOnPlateau(hold_steps=50 * per_epoch, patience=2),
        averaging=AveragingConfig(ema_decay=None),
        validation=ValidationConfig(
            every=per_epoch, items=5000, metric="si_sdr_db", layout=_LAYOUTS[data] if drawn_from_raw else None
        ),
        layout=_RAW_WSJ0 if drawn_from_raw else _LAYOUTS[data],
        steps=100 * per_epoch,
        batch_size=1,
        save_every=1000,
    )


def sepformer(name: str, data: Data, *, dynamic: bool) -> TrainingConfig:
    """A run of SepFormer's own recipe: 200 epochs, level for 85; what is better than 30 dB is passed over."""
    per_epoch = _MIXTURES[data]
    return replace(
        sfsrnet(name, SepFormerConfig(), data=data, dynamic=dynamic),
        loss=replace(SI_SNR, floor_db=-30.0, below_floor="skip"),
        schedule=HalveOnPlateau(hold_steps=85 * per_epoch, patience=2),
        steps=200 * per_epoch,
    )


def refined(separator: NetworkConfig, network: RefinementConfig) -> WithSuperResolutionConfig:
    return WithSuperResolutionConfig(separator=separator, super_resolution=network)


def without_guess(network: SuperResolutionConfig) -> SuperResolutionConfig:
    return replace(network, heuristic="none")


FULL = SuperResolutionConfig()
SFSRNET_MODEL = refined(sfsrnet_separator(), FULL)

_ROWS: tuple[tuple[Data, bool, str, str], ...] = (
    ("wsj0-2mix", False, "table 1: 22.0 dB SI-SDRi, 22.1 dB SDRi", "table 1: 20.4 dB SI-SDRi, 20.5 dB SDRi"),
    ("wsj0-2mix", True, "table 1: 24.0 dB SI-SDRi, 24.1 dB SDRi", "table 1: 22.3 dB SI-SDRi, 22.4 dB SDRi"),
    ("libri2mix", False, "table 2: figure not known", "table 2: figure not known"),
    ("libri2mix", True, "table 2: figure not known", "table 2: figure not known"),
    ("libri2mix-noisy", False, "table 2: figure not known", "table 2: figure not known"),
    ("libri2mix-noisy", True, "table 2: figure not known", "table 2: figure not known"),
)
"""Data, whether mixed on the fly, and what the paper reports for SFSRNet and for SepFormer."""

TABLES_1_AND_2 = tuple(
    recipe
    for data, dynamic, ours, theirs in _ROWS
    for name in [f"{data}-dm" if dynamic else data]
    for recipe in (
        Recipe(
            config=sfsrnet(f"sfsrnet-{name}", SFSRNET_MODEL, RISING, data, dynamic=dynamic),
            model="SFSRNet, 58 M",
            data=_DATA_NAMES[data],
            row=f"SFSRNet {ours}",
        ),
        Recipe(
            config=sepformer(f"sepformer-{name}", data, dynamic=dynamic),
            model="SepFormer, 26 M",
            data=_DATA_NAMES[data],
            row=f"SFSRNet {theirs}",
        ),
    )
)


def ablation(
    separator: SepFormerConfig, network: SuperResolutionConfig
) -> tuple[tuple[str, ModelConfig, MultiLossConfig | None, str], ...]:
    """The rows of table 3 by name: model, multi-loss, and what the table calls it; the separator has a head per block.

    ours: with super-resolution alone, the separator's estimate is judged beside the refined.
    """
    plain = replace(separator, heads="last")
    return (
        ("plain", plain, None, "SepFormer"),
        ("same", separator, SAME, "+ multi-loss, same sampling rates"),
        ("rising", separator, RISING, "+ multi-loss, changing sampling rates"),
        ("sr", refined(plain, without_guess(network)), SAME, "+ SR without heuristics"),
        ("sr-heuristic", refined(plain, network), SAME, "+ SR with heuristics"),
        ("all", refined(separator, network), RISING, "+ multi-loss and SR with heuristics"),
    )


TABLE_3 = tuple(
    Recipe(
        config=sfsrnet(f"sfsrnet-ablation-{name}", model, multi_loss, dynamic=True),
        model="the separator of SFSRNet" if name == "plain" else what,
        data="WSJ0-2mix",
        row=f"SFSRNet table 3: {what}, {figure} dB SI-SDRi",
    )
    # The last row stands in table 1.
    for (name, model, multi_loss, what), figure in zip(
        ablation(sfsrnet_separator(), FULL)[:-1], (22.5, 23.1, 23.5, 22.9, 23.3), strict=True
    )
)

_STRIDED_SEPFORMER = SepFormerConfig(kernel_samples=64, stride_samples=32)
_STRIDED_S4M = S4MConfig(sample_rate=8000, kernel_ms=16.0)
_UNGUESSED = without_guess(FULL)

_FINE_DPRNN = DPRNNConfig(chunk_frames=200)
_STRIDED_DPRNN = DPRNNConfig(kernel_samples=16, stride_samples=8, chunk_frames=200)
_SHORT_CHUNKS = replace(_STRIDED_DPRNN, chunk_frames=50)

TABLE_4 = tuple(
    Recipe(
        config=sfsrnet(f"sfsrnet-dprnn-{name}", model, SAME if isinstance(model, WithSuperResolutionConfig) else None),
        model=f"DPRNN, {about}",
        data="WSJ0-2mix",
        row=f"SFSRNet table 4: {decibels} dB SI-SDRi, {milliseconds} ms per second",
    )
    for name, model, about, decibels, milliseconds in (
        ("1-200", _FINE_DPRNN, "stride 1, chunks of 200", 19.1, 65.5),
        ("8-200", _STRIDED_DPRNN, "stride 8, chunks of 200", 17.6, 25.8),
        ("8-200-sr", refined(_STRIDED_DPRNN, _UNGUESSED), "stride 8, chunks of 200, with SR", 18.3, 28.8),
        ("8-50", _SHORT_CHUNKS, "stride 8, chunks of 50", 17.3, 25.3),
        ("8-50-sr", refined(_SHORT_CHUNKS, _UNGUESSED), "stride 8, chunks of 50, with SR", 18.8, 28.3),
    )
)
"""Without the guessed high band, as the table says. ours: filters twice as long as they advance, the mixtures that the
data set gives, and with super-resolution the separator's estimate is judged beside the refined."""

STRIDED_OTHERS = tuple(
    Recipe(
        config=sfsrnet(f"sfsrnet-strided-{name}", model, multi_loss),
        model=about,
        data="WSJ0-2mix",
        row="ours, after SFSRNet table 4, which has DPRNN",
    )
    for name, model, multi_loss, about in (
        ("sepformer", _STRIDED_SEPFORMER, None, "SepFormer, stride 32"),
        ("sepformer-sr", refined(_STRIDED_SEPFORMER, _UNGUESSED), SAME, "SepFormer, stride 32, with SR"),
        ("s4m", _STRIDED_S4M, None, "S4M-tiny, stride 32"),
        ("s4m-sr", refined(_STRIDED_S4M, _UNGUESSED), SAME, "S4M-tiny, stride 32, with SR"),
    )
)


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


def small(name: str, model: ModelConfig, multi_loss: MultiLossConfig | None) -> TrainingConfig:
    """The ablation at a size that two CPU cores train in minutes, on utterances with speakers such as the corpus.

    ours: 128 filters of 8 ms that advance by 4 ms, three blocks of one layer each way, and a narrow network; all rows
    see the same mixtures in the same order. The rate stays level and weights are averaged, so that runs of any equal
    number of steps may be compared.
    """
    return TrainingConfig(
        name=name,
        model=model,
        mixing=SpeakerMixing(segment_seconds=2.0),
        loss=SI_SNR,
        multi_loss=multi_loss,
        schedule=Trapezoid(warmup_steps=100, decay_share=0.0),
        averaging=AveragingConfig(ema_decay=0.995, ema_start_step=100),
        validation=ValidationConfig(every=500, items=30, list_name="speech-valid"),
        steps=2000,
        batch_size=2,
        save_every=250,
    )


SMALL_TABLE_3 = tuple(
    Recipe(
        config=small(f"sfsrnet-small-{name}", model, multi_loss),
        model="a small SepFormer" if name == "plain" else what,
        data="utterances with speakers",
        row="ours: SFSRNet table 3 on a CPU",
    )
    for name, model, multi_loss, what in ablation(SMALL, SMALL_NETWORK)
)


FINE = S4MConfig(sample_rate=8000, kernel_ms=4.0, hidden_dim=256, num_rounds=3)
STRIDED = replace(FINE, kernel_ms=16.0)
NARROW = SuperResolutionConfig(hidden_dims=(8, 16, 8), kernel_sizes=(5, 5, 5, 5), heuristic="none")
"""ours: narrow enough for a separator of half a million parameters; without the guess, as in the paper's table."""

NARROW_COMPLEX = replace(NARROW, correction="complex")
NARROW_TIME = TimeSuperResolutionConfig(filter_ms=1.0, hidden_dim=64, kernel_size=5, num_blocks=3)
"""ours: as narrow, by the number of multiplications: 139 and 128 million a second, where `NARROW` has 119."""


def strided(name: str, model: ModelConfig) -> TrainingConfig:
    """Some ten minutes on a CPU core. With super-resolution the separator's estimates are judged as well."""
    return TrainingConfig(
        name=name,
        model=model,
        mixing=SpeakerMixing(segment_seconds=2.0),
        loss=PIT_SNR,
        multi_loss=SAME if isinstance(model, WithSuperResolutionConfig) else None,
        schedule=Trapezoid(warmup_steps=100, decay_share=0.25),
        averaging=AveragingConfig(ema_decay=0.99, ema_start_step=100),
        validation=ValidationConfig(every=400, items=40, list_name="speech-valid"),
        layout="corpus:speech",
        steps=1200,
        batch_size=4,
        save_every=100,
    )


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


_NARROW_GUESSED = replace(NARROW, heuristic="mixture-over-estimate")

SMALL_TABLE_4 = tuple(
    Recipe(
        config=config,
        model=about,
        data="utterances with speakers",
        row="ours, after SFSRNet table 4: super-resolution on a strided separator",
    )
    for config, about in (
        (tuned("speech-tuned", SPEECH_MODEL), "S4M, 8 ms, --init speech"),
        (tuned("speech-tuned-sr", refined(SPEECH_MODEL, NARROW)), "S4M, 8 ms, super-resolution, --init speech"),
        (strided("s4m-fine", FINE), "S4M, 4 ms"),
        (strided("s4m-strided", STRIDED), "S4M, 16 ms"),
        (strided("s4m-strided-sr", refined(STRIDED, NARROW)), "S4M, 16 ms, super-resolution"),
        (
            strided("s4m-strided-sr-guess", refined(STRIDED, _NARROW_GUESSED)),
            "S4M, 16 ms, super-resolution with guess",
        ),
        (
            strided("s4m-strided-sr-complex", refined(STRIDED, NARROW_COMPLEX)),
            "S4M, 16 ms, super-resolution of phases too",
        ),
        (strided("s4m-strided-sr-time", refined(STRIDED, NARROW_TIME)), "S4M, 16 ms, super-resolution of waveforms"),
    )
)
"""Is a large stride with super-resolution better than without? Table 4 asks it of DPRNN, this of S4M.

Of the bundled model `speech`, whose stride of 2 ms is four times that of the published S4M-tiny, when it is trained on
from where it is; and of small ones at 8 kHz that begin with nothing, where filters of 4 ms are the fine form and those
of 16 ms leave a quarter of the frames. Runs of one kind draw the same mixtures and differ in the model alone.
"""

SFSRNET = (*TABLES_1_AND_2, *TABLE_3, *TABLE_4, *STRIDED_OTHERS, *SMALL_TABLE_3, *SMALL_TABLE_4)
