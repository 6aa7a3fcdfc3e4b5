"""Recipes for S4M: the rows of the paper's tables, and its claims at a scale that two CPU cores can train.

C. Chen et al., "A Neural State-Space Model(ing) Approach to Efficient Speech Separation", Interspeech 2023. The
settings are those of the training code that its authors name (TDANet's): Adam at 1e-3, halved when 15 validations have
brought nothing, an end after 30, gradients clipped at 5, batches of four, PIT negative SNR with the -30 dB rule.
"""

from __future__ import annotations

from dataclasses import replace

from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.recipes.recipe import Recipe
from unbraid.training.config import (
    AveragingConfig,
    GivenMixtures,
    HalveOnPlateau,
    LossConfig,
    LossTerm,
    OptimiserConfig,
    SpeakerMixing,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)

PIT_SNR = LossConfig(terms=(LossTerm(name="snr"),), floor_db=-30.0)

TINY, TINY_8K = S4MConfig(), S4MConfig(sample_rate=8000)
FULL, FULL_8K = replace(TINY, decoder_state_space="coarse"), replace(TINY_8K, decoder_state_space="coarse")


def paper(
    name: str, model: S4MConfig | SepFormerConfig, *, segment_seconds: float, num_mixtures: int, layout: str
) -> TrainingConfig:
    """A run of the paper on a data set with so many training mixtures, each once an epoch."""
    per_epoch = num_mixtures // 4
    return TrainingConfig(
        name=name,
        model=model,
        mixing=GivenMixtures(segment_seconds=segment_seconds),
        loss=PIT_SNR,
        schedule=HalveOnPlateau(patience=15),
        averaging=AveragingConfig(ema_decay=None, keep_best=1),
        validation=ValidationConfig(every=per_epoch, items=3000, metric="si_sdr_db"),
        layout=layout,
        steps=500 * per_epoch,
        batch_size=4,
        save_every=500,
        early_stop=30,
    )


def wsj0_2mix(name: str, model: S4MConfig) -> TrainingConfig:
    """On WSJ0-2mix (8 kHz, min), 4-s segments of the given mixtures."""
    return paper(name, model, segment_seconds=4.0, num_mixtures=20_000, layout="wsj0-mix")


def libri2mix(name: str, model: S4MConfig | SepFormerConfig) -> TrainingConfig:
    """On Libri2Mix (8 kHz, min, train-100, clean), 3-s segments of the given mixtures."""
    return paper(name, model, segment_seconds=3.0, num_mixtures=13_900, layout="librimix:clean,train-100")


def lrs2_2mix(name: str, model: S4MConfig | SepFormerConfig) -> TrainingConfig:
    """On LRS2-2Mix (16 kHz, noise and reverberation), whole mixtures of 2 s."""
    return paper(name, model, segment_seconds=2.0, num_mixtures=20_000, layout="lrs2-mix")


def baseline(run: TrainingConfig) -> TrainingConfig:
    """ours: a SepFormer of the tables learns from the same examples and loss as S4M, at SepFormer's own rate."""
    return replace(run, optimiser=OptimiserConfig(learning_rate=15e-5))


def wham(name: str, model: S4MConfig) -> TrainingConfig:
    """On WHAM! (8 kHz, min): two speakers in background noise, which the paper's tables do not have."""
    return paper(name, model, segment_seconds=4.0, num_mixtures=20_000, layout="wham:noisy")


DRAWN = TrainingConfig(
    name="s4m-tiny-16k",
    model=TINY,
    mixing=SpeakerMixing(segment_seconds=2.0, speed_range=(1.0, 1.0)),
    loss=PIT_SNR,
    validation=ValidationConfig(list_name="speech-valid"),
    steps=500_000,
    batch_size=4,
)
"""S4M-tiny as the paper has it at 16 kHz (2 ms, depth 5), on mixtures that are drawn on the fly."""

_TINY, _FULL, _SEPFORMER = "S4M-tiny, 1.8 M", "S4M, 3.5 M", "SepFormer, 26 M"
_SEPFORMER_8K, _SEPFORMER_16K = SepFormerConfig(), SepFormerConfig(sample_rate=16_000)
_ON_LIBRI = baseline(libri2mix("sepformer-libri2mix-100", _SEPFORMER_8K))
_ON_LRS2 = baseline(lrs2_2mix("sepformer-lrs2-2mix", _SEPFORMER_16K))

TABLES = tuple(
    Recipe(config=config, model=model, data=data, row=row)
    for config, model, data, row in (
        (DRAWN, _TINY, "utterances with speakers", "ours: the paper's model, drawn mixtures"),
        (wsj0_2mix("s4m-tiny-wsj0-2mix", TINY_8K), _TINY, "WSJ0-2mix", "S4M table 1: 19.4 dB SI-SDRi, 19.7 dB SDRi"),
        (wsj0_2mix("s4m-wsj0-2mix", FULL_8K), _FULL, "WSJ0-2mix", "S4M table 1: 20.5 dB SI-SDRi, 20.7 dB SDRi"),
        (libri2mix("s4m-tiny-libri2mix", TINY_8K), _TINY, "Libri2Mix", "S4M table 2: 16.2 dB SI-SDRi, 16.6 dB SDRi"),
        (libri2mix("s4m-libri2mix", FULL_8K), _FULL, "Libri2Mix", "S4M table 2: 16.9 dB SI-SDRi, 17.4 dB SDRi"),
        (lrs2_2mix("s4m-tiny-lrs2-2mix", TINY), _TINY, "LRS2-2Mix", "S4M table 2: 14.2 dB SI-SDRi, 14.5 dB SDRi"),
        (lrs2_2mix("s4m-lrs2-2mix", FULL), _FULL, "LRS2-2Mix", "S4M table 2: 15.3 dB SI-SDRi, 15.5 dB SDRi"),
        (_ON_LIBRI, _SEPFORMER, "Libri2Mix", "S4M table 2: 16.5 dB SI-SDRi, 17.0 dB SDRi"),
        (_ON_LRS2, _SEPFORMER, "LRS2-2Mix", "S4M table 2: 13.5 dB SI-SDRi, 13.8 dB SDRi"),
        (wham("s4m-tiny-wham", TINY_8K), _TINY, "WHAM!", "not in the paper's tables"),
    )
)


STEPS = 1200

SMALL = S4MConfig(kernel_ms=8.0, hidden_dim=256, num_rounds=4)
"""The network of the bundled models with one round less: the paper's 16, 8 and 4 can then be set side by side."""

AS_LARGE = SepFormerConfig(
    sample_rate=16_000,
    dim=96,
    num_filters=128,
    kernel_samples=128,
    stride_samples=64,
    padding="both",
    chunk_frames=100,
    num_blocks=2,
    num_layers=1,
    sequence=SelfAttentionConfig(num_heads=4, inner_dim=96, bias=True, dropout=0.0),
    feedforward_dim=416,
)
"""A SepFormer of as many parameters (593,153 against 593,415), which takes 0.60 of the CPU time."""

AS_FAST = replace(AS_LARGE, num_layers=2, feedforward_dim=256)
"""A SepFormer of nearly the CPU time for a second of sound (0.88 of it), with 818,177 parameters."""


def small(name: str, model: S4MConfig | SepFormerConfig) -> TrainingConfig:
    """A run of the comparison: data, mixtures, loss, optimiser, steps and seed in common, the network alone differs.

    The optimiser is Muon as it comes, tuned for none of them. Every second mixture has a sound of the corpus behind its
    speakers, so that one run answers for clean and for noisy mixtures.
    """
    return TrainingConfig(
        name=name,
        model=model,
        mixing=SpeakerMixing(segment_seconds=2.5, noise="noise", noise_share=0.5),
        loss=PIT_SNR,
        optimiser=OptimiserConfig(name="muon"),
        schedule=Trapezoid(warmup_steps=100, decay_share=0.3),
        averaging=AveragingConfig(ema_decay=0.98, ema_start_step=100),
        validation=ValidationConfig(every=STEPS, items=40, list_name="speech-noisy-valid"),
        layout="corpus:noisy",
        steps=STEPS,
        batch_size=4,
        save_every=250,
    )


_DIAGONAL, _ONE_WAY = StateSpaceConfig(kind="s4d-lin"), StateSpaceConfig(bidirectional=False)

COMPARISON = tuple(
    Recipe(
        config=small(name, model),
        model=about,
        data="corpus with speech/ and fx/",
        row="ours: S4M's claims at a small scale",
    )
    for name, model, about in (
        ("speech-s4m", SMALL, "S4M of four rounds"),
        ("speech-sepformer-as-fast", AS_FAST, "SepFormer of the same CPU time"),
        ("speech-sepformer-as-large", AS_LARGE, "SepFormer of the same size"),
        ("speech-s4m-8-rounds", replace(SMALL, num_rounds=8), "S4M of eight rounds"),
        ("speech-s4m-16-rounds", replace(SMALL, num_rounds=16), "S4M of sixteen rounds"),
        ("speech-s4m-one-level", replace(SMALL, depth=1), "S4M at one scale"),
        ("speech-s4m-two-levels", replace(SMALL, depth=2), "S4M at two scales"),
        ("speech-s4m-three-levels", replace(SMALL, depth=3), "S4M at three scales"),
        ("speech-s4m-mamba", replace(SMALL, coarsest="mamba"), "S4M with Mamba for S4"),
        ("speech-s4m-attention", replace(SMALL, coarsest="attention"), "S4M with attention for S4"),
        ("speech-s4m-diagonal", replace(SMALL, state_space=_DIAGONAL), "S4M with S4D"),
        ("speech-s4m-one-way", replace(SMALL, state_space=_ONE_WAY), "S4M that hears forwards only"),
    )
)
"""Against SepFormer, and without each of S4M's parts."""

S4M = (*TABLES, *COMPARISON)
