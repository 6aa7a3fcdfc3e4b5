"""Recipes for MTFA and its backbone: ResUNetDecouple+'s training on MUSDB18, and ablations of both of MTFA's claims.

Q. Kong et al., "Decoupling Magnitude and Phase Estimation with Deep ResUNet for Music Source Separation", ISMIR 2021,
by the configuration of its released code: one model per source, L1 on the waveform, Adam at 1e-3 with amsgrad, up over
1000 steps and down by 0.9 every 15,000, 16 segments of 3 s, each source a plain sum of two of its segments drawn
independently ("mix-audio"). What MTFA's own authors did is not public.

Silence is drawn as often as it is there, a second of any song is as likely as any other, and `*-musdb` train on all 100
songs as the released code does, so that validation says little there; the ablations hold 14 songs out.

Weights are not averaged over the steps: the statistics of batch norms belong to the weights they were taken with.
ours: the four stems are drawn apart, where the released code draws vocals and the rest. Longer crops show attention
more of what repeats: --set mixing.segment_seconds=8. Other sources: --set model.sources=drums.
"""

from __future__ import annotations

from dataclasses import replace

from unbraid.data.mixing.levels import Level
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.layers.axis_attention import TemporalFrequencyConfig
from unbraid.models.mtfa.model import CENTRE, LEVELS, MTFAConfig
from unbraid.models.resunet.model import ResUNetConfig
from unbraid.recipes.recipe import Recipe
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

MIX_AUDIO = SourceDrawing(
    level=Level(measure="as-recorded"), drop_probability=0.0, num_pieces=(2, 2), weights="seconds", silence="kept"
)

LEVELLED = replace(MIX_AUDIO, level=Level(mean_db=-25.0, spread_db=5.0), silence="redrawn")

L1 = LossConfig(terms=(LossTerm(name="l1"),))


def musdb(name: str, model: ResUNetConfig) -> TrainingConfig:
    """A run as the backbone's authors have it."""
    return TrainingConfig(
        name=name,
        model=model,
        mixing=StemMixing(segment_seconds=3.0, drawing=MIX_AUDIO),
        loss=L1,
        optimiser=OptimiserConfig(learning_rate=1e-3, amsgrad=True, gradient_clip=None),
        schedule=WarmupDecay(warmup_steps=1000, decay_from=0, decay_every=15_000, decay_factor=0.9),
        averaging=AveragingConfig(ema_decay=None),
        validation=ValidationConfig(every=10_000, items=14),
        steps=500_000,
        batch_size=16,
        save_every=1000,
    )


def full_train(name: str, model: ResUNetConfig) -> TrainingConfig:
    """The same on all 100 songs, of MUSDB18 or MUSDB18-HQ."""
    return replace(musdb(name, model), layout="auto:full-train")


def laptop(name: str, model: ResUNetConfig) -> TrainingConfig:
    """ours: the same in half an hour on one CPU core, at 16 kHz in mono, to see differences and not records.

    Each source is drawn at a level of its own, because collections of songs and of renderings differ by 15 dB.
    """
    model = replace(
        model,
        sample_rate=16_000,
        num_channels=1,
        sources=("vocals", "drums"),
        n_fft=512,
        hop=256,
        width=0.125,
        units=2,
        norm_momentum=0.1,
    )
    return replace(
        musdb(name, model),
        mixing=StemMixing(segment_seconds=3.0, drawing=LEVELLED),
        schedule=Trapezoid(warmup_steps=50, decay_share=0.25),
        validation=ValidationConfig(every=300, items=40),
        steps=1200,
        batch_size=4,
        save_every=150,
    )


def quarter(model: MTFAConfig) -> MTFAConfig:
    """A quarter of the width."""
    return replace(model, width=0.25)


_TIME, _FREQUENCY = TemporalFrequencyConfig(order="time"), TemporalFrequencyConfig(order="frequency")
_PYRAMID, _GATED = TemporalFrequencyConfig(pyramid=(1, 2, 4)), TemporalFrequencyConfig(branches="gated")
_PATTERNS = TemporalFrequencyConfig(patterns=(1, 3))
_LIGHT, _GLOBAL = TemporalFrequencyConfig(form="light"), TemporalFrequencyConfig(form="global")

BARE, AT_CENTRE, AT_LEVELS = MTFAConfig(places=()), MTFAConfig(places=CENTRE), MTFAConfig(places=LEVELS)

TABLES = tuple(
    Recipe(config=full_train(name, model), model=about, data="MUSDB18", row=row)
    for name, model, about, row in (
        ("resunet-musdb", ResUNetConfig(), "ResUNetDecouple+", "ISMIR 2021: vocals 8.98 dB cSDR"),
        ("mtfa-musdb", MTFAConfig(), "MTFA, a reconstruction", "ICME 2022: vocals 9.51 dB cSDR"),
        (
            "mtfa-small-musdb",
            quarter(MTFAConfig(sources=("bass", "drums", "vocals", "other"))),
            "MTFA, a quarter of the width, four stems",
            "ours: for modest hardware",
        ),
    )
)

ABLATIONS = tuple(
    Recipe(
        config=musdb(f"mtfa-ablation-{name}", quarter(model)),
        model=f"a quarter of MTFA, {about}",
        data="MUSDB18",
        row="ours: what attention brings, vocals",
    )
    for name, model, about in (
        ("none", BARE, "no attention"),
        ("time", replace(AT_CENTRE, attention=_TIME), "along time, deepest level"),
        ("frequency", replace(AT_CENTRE, attention=_FREQUENCY), "along frequency, deepest level"),
        ("centre", AT_CENTRE, "along both, deepest level"),
        ("levels", AT_LEVELS, "along both, several levels"),
        ("levels-pyramid", replace(AT_LEVELS, attention=_PYRAMID), "along both, several levels and steps"),
        ("levels-patterns", replace(AT_LEVELS, attention=_PATTERNS), "along both, several levels and pattern lengths"),
        ("levels-light", replace(AT_LEVELS, attention=_LIGHT), "along both, several levels, in the light form"),
        (
            "levels-global",
            replace(AT_LEVELS, attention=_GLOBAL),
            "along both, several levels, whole frames and bins",
        ),
        ("levels-gated", replace(AT_LEVELS, attention=_GATED), "along both, several levels, beginning at nothing"),
    )
)
"""By what each adds to the one before: the abstract's first claim down to "centre", its second from there on, in all
three readings of "multi-scale"; two other forms of the module; and ours, branches that begin as the identity."""

ON_A_LAPTOP = tuple(
    Recipe(
        config=laptop(f"mtfa-laptop-{name}", model),
        model=f"an eighth of MTFA, {about}",
        data="songs of stems",
        row="ours: what attention brings, on one CPU core",
    )
    for name, model, about in (
        ("none", BARE, "no attention"),
        ("centre", AT_CENTRE, "along both, deepest level"),
        ("levels", AT_LEVELS, "along both, several levels"),
        ("levels-gated", replace(AT_LEVELS, attention=_GATED), "along both, several levels, beginning at nothing"),
    )
)

MTFA = (*TABLES, *ABLATIONS, *ON_A_LAPTOP)
