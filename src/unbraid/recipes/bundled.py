"""Recipes of the models that come with unbraid; what each of them is good for stands in its card."""

from __future__ import annotations

from dataclasses import replace

from unbraid.data.mixing.levels import Level
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.models.catalog import PRESETS
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.super_resolution.post_filter import PostFilterConfig
from unbraid.models.super_resolution.wrapper import NetworkConfig, WithSuperResolutionConfig
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.sfc import NARROW_ATTENTION, THRESHOLDED_SNR, narrow, scenes, scenes_run
from unbraid.training.config import (
    AveragingConfig,
    InitConfig,
    LossConfig,
    LossTerm,
    OptimiserConfig,
    SpeakerMixing,
    StemMixing,
    TrainingConfig,
    Trapezoid,
    Turns,
    ValidationConfig,
)

CONVERSATION = Turns(alone_share=0.1, turns_share=0.2)
"""ours: of every ten mixtures three are as in a conversation, where mostly one speaks at a time."""

PIT_SNR_OR_SILENCE = LossConfig(terms=(LossTerm(name="thresholded-snr", settings={"snr_max_db": 20.0}),))
"""Who is not in a mixture is to be silent.

ours: 20 dB are enough. With SFC's 30 a speaker alone, who is easy, pulls at the weights much harder than two at once:
the gradient of the SNR grows as the error shrinks.
"""

SPEECH_MODEL = S4MConfig(kernel_ms=8.0, hidden_dim=256, num_rounds=5)

SPEECH = TrainingConfig(
    name="speech",
    model=SPEECH_MODEL,
    mixing=SpeakerMixing(segment_seconds=4.0, turns=CONVERSATION, speaker_counts={"intent": 50.0}),
    loss=PIT_SNR_OR_SILENCE,
    schedule=Trapezoid(warmup_steps=200, decay_share=0.0),
    averaging=AveragingConfig(ema_start_step=200),
    validation=ValidationConfig(every=1000, items=40, list_name="speech-valid"),
    steps=38_000,
    batch_size=3,
    save_every=250,
)
"""The bundled model `speech`: an S4M small enough to be trained on two CPU cores in some hours.

ours: half the hidden width of S4M-tiny, five rounds, and an encoder of 8 ms, which leaves 500 frames a second. As all
rounds share their weights, their number can change during training: the bundled weights ran six for 1,826 steps, three
up to step 22,585, which learn about as much in half the time at first, and five since. The rate stays level to the end;
the averaged weights gain nothing from a way down. Both speakers spoke all the time up to about step 30,330.
`intent` are more than fifty people of one name: counted as fifty, one of them is in a quarter of the mixtures; as one
speaker of 312 in six of a thousand, and by their 89 minutes in two thirds, beside 311 others.
"""

SPEECH_NOISY = replace(
    SPEECH,
    name="speech-noisy",
    mixing=replace(SPEECH.mixing, noise="noise"),
    layout="corpus:noisy",
    validation=ValidationConfig(every=500, items=40, list_name="speech-noisy-valid"),
    steps=4_000,
)
"""The bundled model `speech-noisy`: the same network and mixtures, and a sound of the corpus behind each.

ours. The noise lies 0 to 15 dB below the speakers. Begin with `--init speech`, which saves most of the way.
"""

SPEECH_LIVE = replace(
    SPEECH,
    name="speech-live",
    model=PRESETS["s4m-live"],
    validation=ValidationConfig(every=1000, items=40, list_name="speech-valid"),
    steps=60_000,
)
"""The bundled model `speech-live`: causal S4M, for `unbraid stream`, with the mixtures and the loss of `speech`.

ours. Begin with `--init speech`: all tensors but S4's readout, which has one direction of two,
are as in `speech`; norms and filters see other things, so that it begins near 0 dB (0.3 dB after 500 steps).
"""

CINEMATIC = replace(
    scenes_run("cinematic", narrow(NARROW_ATTENTION)),
    averaging=AveragingConfig(ema_start_step=300),
    steps=40_000,
)
"""The bundled model `cinematic`: an SFC-CA small enough to be trained on two CPU cores.

ours: everything but the kind of compression, the loss and the levels of the mixtures.
"""


def _as_in_films(mixing: StemMixing) -> StemMixing:
    """The scenes, but that one or two people speak, one after the other, and up to four things happen."""
    dialogue, effects = mixing.drawings["dialogue"], mixing.drawings["effects"]
    return replace(
        mixing,
        drawings={
            **mixing.drawings,
            "dialogue": replace(
                dialogue,
                num_pieces=(1, 2),
                piece_seconds=(1.5, 6.0),
                piece_level=dialogue.level,
                arrangement="in-turn",
            ),
            "effects": replace(effects, num_pieces=(1, 4), piece_seconds=(0.5, 5.0), weights="seconds"),
        },
    )


CINEMATIC_LONG = replace(
    CINEMATIC,
    name="cinematic-long",
    mixing=_as_in_films(scenes(8.0)),
    optimiser=OptimiserConfig(
        name="muon", matrix_kernels=True, learning_rate=5e-4, matrix_learning_rate=5e-4, weight_decay=0.01
    ),
    schedule=Trapezoid(warmup_steps=30, decay_share=0.8),
    averaging=AveragingConfig(ema_decay=0.99, ema_start_step=20),
    validation=replace(CINEMATIC.validation, every=150, items=40, metric="si_sdri_db"),
    init=InitConfig(warmup_steps=30),
    steps=650,
    batch_size=1,
)
"""What the bundled model `cinematic` ends in: begin with `--init cinematic`.

ours. Recordings are separated in pieces of twelve seconds, in which a model that has learned from two at a time hears
talk worse than in short ones; music and effects, which are told apart by what lasts, it hears better there.
"""

_LOUDNESS = Level(spread_db=9.0)
_FROM_ANYWHERE = SourceDrawing(level=_LOUDNESS, drop_probability=0.15, weights="collections")

MUSIC = TrainingConfig(
    name="music",
    model=PRESETS["fb-tiny"],
    mixing=StemMixing(
        segment_seconds=4.0,
        drawing=_FROM_ANYWHERE,
        coherent_probability=0.5,
        song_weights="collections",
    ),
    loss=THRESHOLDED_SNR,
    optimiser=OptimiserConfig(name="adamw", learning_rate=1e-3, weight_decay=0.01),
    schedule=Trapezoid(warmup_steps=300, decay_share=0.25),
    averaging=AveragingConfig(ema_decay=0.99, ema_start_step=100),
    validation=ValidationConfig(every=250, items=30, list_name="music-valid"),
    layout="corpus:music",
    steps=10_000,
    batch_size=4,
    save_every=125,
)
"""Trains the bundled model `music` further on audio; begin with `--init music`.

ours. A step on audio costs ten times as much as one on powers in bands, with which the bundled weights were made:
`benchmarks/training/band_training`.
"""


def _with_post_filter(config: TrainingConfig, **changes: object) -> TrainingConfig:
    """The post-filter of a bundled model, on its separator, which stays as it is: begin with `--init NAME`."""
    assert isinstance(config.model, NetworkConfig)
    return replace(
        config,
        name=f"{config.name}-post-filter",
        model=WithSuperResolutionConfig(separator=config.model, super_resolution=PostFilterConfig()),
        optimiser=OptimiserConfig(name="muon", matrix_kernels=True, weight_decay=0.01),
        schedule=Trapezoid(warmup_steps=100, decay_share=0.6),
        averaging=AveragingConfig(ema_decay=0.995, ema_start_step=100),
        validation=replace(config.validation, every=200),
        freeze=("separator",),
        steps=3_000,
        batch_size=4,
        **changes,  # type: ignore[arg-type]
    )


POST_FILTERS = (
    _with_post_filter(SPEECH),
    _with_post_filter(SPEECH_NOISY),
    _with_post_filter(CINEMATIC, mixing=replace(CINEMATIC.mixing, segment_seconds=4.0)),
)
"""What the bundled models `speech` and `speech-noisy` end in, and one for `cinematic`.

ours. `benchmarks/training/post_filter` trains them by these recipes at less cost: it separates each mixture once and
uses it four times.
"""

_SMALL = "S4M, 0.59 M"

BUNDLED = tuple(
    Recipe(config=config, model=model, data=data, row=row)
    for config, model, data, row in (
        (SPEECH, _SMALL, "utterances with speakers", "the bundled model"),
        (SPEECH_NOISY, _SMALL, "corpus with speech/ and fx/", "the bundled model for noise"),
        (SPEECH_LIVE, "causal S4M, 0.58 M", "utterances with speakers", "the bundled model for `unbraid stream`"),
        (CINEMATIC, "SFC-CA, 0.40 M", "corpus with speech/, music/ and fx/", "the bundled model"),
        (CINEMATIC_LONG, "SFC-CA, 0.40 M", "corpus with all parts", "the end of `cinematic`"),
        (MUSIC, "SFC with a fixed filterbank, 0.28 M", "corpus with music/", "the bundled model"),
        (POST_FILTERS[0], "post-filter of S4M, 0.7 M", "utterances with speakers", "the end of `speech`"),
        (POST_FILTERS[1], "post-filter of S4M, 0.7 M", "corpus with speech/ and fx/", "the end of `speech-noisy`"),
        (POST_FILTERS[2], "post-filter of SFC-CA, 1.1 M", "corpus with all parts", "for `cinematic`, not bundled"),
    )
)
