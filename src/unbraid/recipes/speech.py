"""Recipes for speech: our bundled model, and the runs of the S4M paper.

C. Chen et al., "A Neural State-Space Model(ing) Approach to Efficient Speech Separation", Interspeech 2023. The
settings are those of the training code that its authors name (TDANet's): Adam at 1e-3, halved when 15 validations have
brought nothing, an end after 30, gradients clipped at 5, batches of four, PIT negative SNR with the -30 dB rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unbraid.models.s4m.model import S4MConfig
from unbraid.recipes.recipe import Recipe
from unbraid.training.config import (
    AveragingConfig,
    GivenMixtures,
    HalveOnPlateau,
    LossConfig,
    LossTerm,
    SpeakerMixing,
    TrainingConfig,
    Trapezoid,
    Turns,
    ValidationConfig,
)

PIT_SNR = LossConfig(terms=(LossTerm(name="snr"),), floor_db=-30.0)

CONVERSATION = Turns(alone_share=0.1, turns_share=0.2)
"""ours: of every ten mixtures three are as in a conversation, where mostly one speaks at a time."""

PIT_SNR_OR_SILENCE = LossConfig(terms=(LossTerm(name="thresholded-snr", settings={"snr_max_db": 20.0}),))
"""Who is not in a mixture is to be silent.

ours: 20 dB are enough. With SFC's 30 a speaker alone, who is easy, pulls at the weights much harder than two at once:
the gradient of the SNR grows as the error shrinks.
"""


def speech() -> TrainingConfig:
    """The bundled model `speech`: an S4M small enough to be trained on two CPU cores in some hours.

    ours: half the hidden width of S4M-tiny, five rounds, and an encoder of 8 ms, which leaves 500 frames a second. As
    all rounds share their weights, their number can change on the way: the bundled weights ran six for 1,826 steps,
    three up to step 22,585, which learn about as much in half the time at first, and five since. The rate stays level
    to the end; the averaged weights gain nothing from a way down. Both speakers spoke all the time up to about step
    30,330.
    """
    return TrainingConfig(
        name="speech",
        model=S4MConfig(kernel_ms=8.0, hidden_dim=256, num_rounds=5),
        mixing=SpeakerMixing(segment_seconds=4.0, turns=CONVERSATION),
        loss=PIT_SNR_OR_SILENCE,
        schedule=Trapezoid(warmup_steps=200, decay_share=0.0),
        averaging=AveragingConfig(ema_start_step=200),
        validation=ValidationConfig(every=1000, items=40, list_name="speech-valid"),
        steps=38_000,
        batch_size=3,
        save_every=250,
    )


def speech_noisy() -> TrainingConfig:
    """The bundled model `speech-noisy`: the same network and mixtures, and a sound of the corpus behind each.

    ours. The noise lies 0 to 15 dB below the speakers. Begin with `--init speech`, which saves most of the way.
    """
    return replace(
        speech(),
        name="speech-noisy",
        mixing=replace(speech().mixing, noise="noise"),
        layout="corpus:noisy",
        validation=ValidationConfig(every=500, items=40, list_name="speech-noisy-valid"),
        steps=4_000,
    )


def s4m_tiny_16k() -> TrainingConfig:
    """S4M-tiny as the paper has it at 16 kHz (2 ms, depth 5), on mixtures that are drawn on the fly."""
    return TrainingConfig(
        name="s4m-tiny-16k",
        model=S4MConfig(),
        mixing=SpeakerMixing(segment_seconds=2.0, speed_range=(1.0, 1.0)),
        loss=PIT_SNR,
        validation=ValidationConfig(list_name="speech-valid"),
        steps=500_000,
        batch_size=4,
    )


def s4m_paper(
    name: str, *, full: bool, sample_rate: int, segment_seconds: float, mixtures: int, layout: str
) -> TrainingConfig:
    """A run of the paper on a data set with so many training mixtures, each once an epoch."""
    per_epoch = mixtures // 4
    return TrainingConfig(
        name=name,
        model=S4MConfig(sample_rate=sample_rate, decoder_state_space="coarse" if full else "none"),
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


def _wsj0_2mix(full: bool) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        """On WSJ0-2mix (8 kHz, min), 4-s segments of the given mixtures."""
        name = "s4m-wsj0-2mix" if full else "s4m-tiny-wsj0-2mix"
        return s4m_paper(name, full=full, sample_rate=8000, segment_seconds=4.0, mixtures=20_000, layout="wsj0-mix")

    return build


def _libri2mix(full: bool) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        """On Libri2Mix (8 kHz, min, train-100, clean), 3-s segments of the given mixtures."""
        name = "s4m-libri2mix" if full else "s4m-tiny-libri2mix"
        return s4m_paper(
            name, full=full, sample_rate=8000, segment_seconds=3.0, mixtures=13_900, layout="librimix:clean,train-100"
        )

    return build


def _lrs2_2mix(full: bool) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        """On LRS2-2Mix (16 kHz, noise and reverberation), whole mixtures of 2 s."""
        name = "s4m-lrs2-2mix" if full else "s4m-tiny-lrs2-2mix"
        return s4m_paper(name, full=full, sample_rate=16_000, segment_seconds=2.0, mixtures=20_000, layout="lrs2-mix")

    return build


def _wham() -> TrainingConfig:
    """On WHAM! (8 kHz, min): speakers with background noise, which the paper's tables leave out."""
    base = s4m_paper("s4m-tiny-wham", full=False, sample_rate=8000, segment_seconds=4.0, mixtures=20_000, layout="wham")
    return replace(base, layout="wham:noisy")


_SMALL = "S4M, 0.59 M"
_TINY, _FULL = "S4M-tiny, 1.8 M", "S4M, 3.5 M"

SPEECH = {
    "speech": Recipe(build=speech, model=_SMALL, data="utterances with speakers", row="the bundled model"),
    "speech-noisy": Recipe(
        build=speech_noisy, model=_SMALL, data="corpus with speech/ and fx/", row="the bundled model for noise"
    ),
    "s4m-tiny-16k": Recipe(
        build=s4m_tiny_16k, model=_TINY, data="utterances with speakers", row="ours: the paper's model, drawn mixtures"
    ),
    "s4m-tiny-wsj0-2mix": Recipe(
        build=_wsj0_2mix(False), model=_TINY, data="WSJ0-2mix", row="S4M table 1: 19.4 dB SI-SDRi, 19.7 dB SDRi"
    ),
    "s4m-wsj0-2mix": Recipe(
        build=_wsj0_2mix(True), model=_FULL, data="WSJ0-2mix", row="S4M table 1: 20.5 dB SI-SDRi, 20.7 dB SDRi"
    ),
    "s4m-tiny-libri2mix": Recipe(
        build=_libri2mix(False), model=_TINY, data="Libri2Mix", row="S4M table 2: 16.2 dB SI-SDRi, 16.6 dB SDRi"
    ),
    "s4m-libri2mix": Recipe(
        build=_libri2mix(True), model=_FULL, data="Libri2Mix", row="S4M table 2: 16.9 dB SI-SDRi, 17.4 dB SDRi"
    ),
    "s4m-tiny-lrs2-2mix": Recipe(
        build=_lrs2_2mix(False), model=_TINY, data="LRS2-2Mix", row="S4M table 2: 14.2 dB SI-SDRi, 14.5 dB SDRi"
    ),
    "s4m-lrs2-2mix": Recipe(
        build=_lrs2_2mix(True), model=_FULL, data="LRS2-2Mix", row="S4M table 2: 15.3 dB SI-SDRi, 15.5 dB SDRi"
    ),
    "s4m-tiny-wham": Recipe(build=_wham, model=_TINY, data="WHAM!", row="not in the paper's tables"),
}
