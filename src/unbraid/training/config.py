"""What a training run is: one frozen value that a recipe returns and a checkpoint carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unbraid.data.mixing import SpeakerMixing
from unbraid.errors import ConfigError
from unbraid.models.catalog import ModelConfig


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam with warm-up, a plateau at full rate, and a straight way down at the end."""

    learning_rate: float = 1e-3

    state_space_learning_rate: float = 1e-3
    """Upper bound of the rate for A, B and dt of state-space layers, which never get weight decay."""

    weight_decay: float = 0.0

    warmup_steps: int = 500

    decay_share: float = 0.2
    """ours: over this last share of all steps the rate goes down to zero; a run stopped before can be prolonged."""

    gradient_clip: float = 5.0
    """Largest L2 norm of the gradient."""

    ema_decay: float = 0.999
    """The weights that are validated and exported are an exponential average with this decay per step."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay_share <= 1:
            raise ConfigError(f"decay_share lies between 0 and 1, not {self.decay_share}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run of training."""

    name: str
    """Name of the recipe."""

    model: ModelConfig

    mixing: SpeakerMixing = field(default_factory=SpeakerMixing)

    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    steps: int = 100_000

    batch_size: int = 4

    loss_floor_db: float | None = -30.0
    """Examples whose loss is below this no longer count towards the mean."""

    validate_every: int = 1000
    """Steps between validations."""

    validation_mixtures: int = 200
    """How many of the fixed validation mixtures are scored, from the head of the list."""

    save_every: int = 500
    """Steps between resumable checkpoints."""

    seed: int = 2026

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"

    num_workers: int = 0
    """Processes that prepare examples beside the training process."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "validation_mixtures", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1, not {getattr(self, name)}")
