"""What S4M's claims come to at a scale that two CPU cores can train: against SepFormer, and without each of its parts.

C. Chen et al., "A Neural State-Space Model(ing) Approach to Efficient Speech Separation", Interspeech 2023. All runs
have the data, the mixtures, the loss, the optimiser (Muon as it comes, tuned for none of them), the steps and the seed
in common, and differ in the network alone. Every second mixture has a sound of the corpus behind its speakers, so that
one run answers for clean and for noisy mixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.recipes.recipe import Recipe
from unbraid.recipes.speech import PIT_SNR, speech_noisy
from unbraid.training.config import AveragingConfig, OptimiserConfig, SpeakerMixing, TrainingConfig, Trapezoid

STEPS = 1200

S4M = S4MConfig(kernel_ms=8.0, hidden_dim=256, num_rounds=4)
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

_NETWORKS: dict[str, tuple[str, S4MConfig | SepFormerConfig]] = {
    "s4m": ("S4M of four rounds", S4M),
    "sepformer-as-fast": ("SepFormer of the same CPU time", AS_FAST),
    "sepformer-as-large": ("SepFormer of the same size", AS_LARGE),
    "s4m-8-rounds": ("S4M of eight rounds", replace(S4M, num_rounds=8)),
    "s4m-16-rounds": ("S4M of sixteen rounds", replace(S4M, num_rounds=16)),
    "s4m-one-level": ("S4M at one scale", replace(S4M, depth=1)),
    "s4m-diagonal": ("S4M with S4D", replace(S4M, state_space=StateSpaceConfig(kind="s4d-lin"))),
    "s4m-one-way": ("S4M that hears forwards only", replace(S4M, state_space=StateSpaceConfig(bidirectional=False))),
}


def _builder(name: str, about: str, model: S4MConfig | SepFormerConfig) -> Callable[[], TrainingConfig]:
    def build() -> TrainingConfig:
        base = speech_noisy()
        return replace(
            base,
            name=name,
            model=model,
            mixing=SpeakerMixing(segment_seconds=2.5, noise="noise", noise_share=0.5),
            loss=PIT_SNR,
            optimiser=OptimiserConfig(name="muon"),
            schedule=Trapezoid(warmup_steps=100, decay_share=0.3),
            averaging=AveragingConfig(ema_decay=0.98, ema_start_step=100),
            validation=replace(base.validation, every=STEPS),
            steps=STEPS,
            batch_size=4,
        )

    build.__doc__ = f"{about}, {STEPS:,} steps."
    return build


SPEECH_COMPARISON = {
    f"speech-{key}": Recipe(
        build=_builder(f"speech-{key}", about, model),
        model=about,
        data="corpus with speech/ and fx/",
        row="ours: S4M's claims at a small scale",
    )
    for key, (about, model) in _NETWORKS.items()
}
