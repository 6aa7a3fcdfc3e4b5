"""What a training run is: one frozen value that a recipe returns and a checkpoint carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from unbraid.data.mixing.drawing import GivenMixtures, Mixing, SpeakerMixing, StemMixing
from unbraid.data.mixing.turns import Turns
from unbraid.errors import ConfigError
from unbraid.losses.multi_rate import MultiLossConfig
from unbraid.losses.weighted import LossConfig, LossTerm
from unbraid.models.catalog import ModelConfig
from unbraid.options import Dropout, NonNegativeInt, PositiveFloat, PositiveInt, Range, check_options
from unbraid.separation.config import SeparationConfig
from unbraid.training.optimisation.optimisers import OptimiserConfig
from unbraid.training.optimisation.schedules import HalveOnPlateau, Schedule, Trapezoid, WarmupDecay

__all__ = [
    "AveragingConfig",
    "GivenMixtures",
    "HalveOnPlateau",
    "InitConfig",
    "LogConfig",
    "LoraConfig",
    "LossConfig",
    "LossTerm",
    "Mixing",
    "MultiLossConfig",
    "OptimiserConfig",
    "Schedule",
    "SpeakerMixing",
    "StemMixing",
    "TrainingConfig",
    "Trapezoid",
    "Turns",
    "ValidationConfig",
    "WarmupDecay",
]


@dataclass(frozen=True, kw_only=True)
class AveragingConfig:
    """Averages of weights, over the steps and over the best validations."""

    ema_decay: Annotated[float, Range(at_least=0.0, below=1.0)] | None = 0.999
    """The weights that are validated and exported are an exponential average with this decay per step; None: as they
    are."""

    ema_start_step: NonNegativeInt = 0
    """Before this step the average is the present weights."""

    keep_best: PositiveInt = 1
    """The best so many validated weights are kept, and averaged into `average.safetensors` if there are several."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """How a run is judged between steps."""

    every: PositiveInt = 1000
    """Steps between validations."""

    items: PositiveInt = 200
    """So many mixtures at most, from the head of the list."""

    list_name: str | None = None
    """A bundled list of mixtures, used if the data holds its files; else the items of the split `valid`, or, where
    these are single sources, mixtures of them drawn once and for all."""

    layout: str | None = None
    """Layout of the data to validate with, where another data set beside the one to train on is meant, below the same
    folder; None: the run's own."""

    piece_seconds: PositiveFloat = 30.0
    """Longer items are separated and scored in pieces of this length, so that memory is bounded."""

    separation: SeparationConfig = field(default_factory=lambda: SeparationConfig(segment_seconds="whole"))
    """How each piece is separated; by default in one call of the model."""

    metric: Literal["auto", "si_sdri_db", "si_sdr_db", "snr_db", "loss"] = "auto"
    """What the best weights are best in; auto: the SI-SDR improvement for speakers, the SNR for stems."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is written down besides; CSV and TensorBoard always are."""

    every: PositiveInt = 20
    """Steps between two entries."""

    sounds: NonNegativeInt = 2
    """From so many fixed validation items audio and spectrogram go to the log."""

    wandb_project: str | None = None
    """Logs to this project of Weights & Biases as well."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """How a run begins that takes over the weights of a trained model; nothing else of that model's run is known."""

    start_step: NonNegativeInt | Literal["auto"] = 0
    """The step at which it begins: 0 for another task, "auto" for the step that the weights file says it was trained
    to, which prolongs that run with its schedule, its examples and its count of steps."""

    warmup_steps: NonNegativeInt = 200
    """ours: over so many steps the learning rate rises to what the schedule says, while the optimiser gathers its
    moments of the gradient anew."""

    network: Literal["auto", "recipe", "theirs"] = "auto"
    """Which network is trained: the recipe's, into which weights are taken over where they fit, or that of the trained
    model as it is; auto: theirs where it is one of another package (htdemucs, RoFormers), which no recipe has."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters on linear layers (E. Hu et al., "LoRA", ICLR 2022); everything else is frozen."""

    rank: PositiveInt = 8

    alpha: PositiveFloat = 16.0
    """Adapters are scaled by alpha / rank."""

    dropout: Dropout = 0.0

    targets: tuple[str, ...] = ()
    """Linear layers whose name begins so, or holds it as a part; by default all."""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run of training."""

    name: str
    """Name of the recipe."""

    model: ModelConfig

    mixing: Mixing = field(default_factory=SpeakerMixing)
    """How examples are made: drawn speakers, drawn stems, or crops of the mixtures that the data set gives."""

    loss: LossConfig = field(default_factory=LossConfig)

    multi_loss: MultiLossConfig | None = None
    """How intermediate estimates are judged as well (SFSRNet); None: only the last one is."""

    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    schedule: Schedule = field(default_factory=Trapezoid)

    averaging: AveragingConfig = field(default_factory=AveragingConfig)

    validation: ValidationConfig = field(default_factory=ValidationConfig)

    log: LogConfig = field(default_factory=LogConfig)

    init: InitConfig = field(default_factory=InitConfig)

    freeze: tuple[str, ...] = ()
    """Modules that do not learn, by the beginning of their name in the model."""

    lora: LoraConfig | None = None
    """Adapters to learn instead of the weights; they are merged in what is exported."""

    layout: str = "auto"
    """Layout of the data, with options after a colon, such as "librimix:noisy"."""

    rename: tuple[str, ...] = ()
    """Other names for the data set's sources, such as "speech:dialogue"; sources that get the same name are summed."""

    steps: PositiveInt = 100_000
    """Optimiser steps."""

    batch_size: PositiveInt | Literal["auto"] = 4
    """Examples per process and forward pass; "auto" tries how many fit into the GPU's memory."""

    accumulate: PositiveInt = 1
    """Batches whose gradients make one step."""

    save_every: PositiveInt = 500
    """Steps between resumable checkpoints."""

    early_stop: PositiveInt | None = None
    """The run ends after so many validations in a row without improvement."""

    seed: NonNegativeInt = 2026

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Mixed precision leaves STFT, S4 and losses in float32."""

    compile: bool = False
    """Compile the model with torch.compile; the first steps wait for it."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory for more time; for models that support it."""

    deterministic: bool = False
    """Refuse operations whose result changes from run to run on a GPU."""

    resident: bool = False
    """All recordings of the training split are decoded once, to 16 bits, and stay on the device, where examples are
    drawn: for a GPU whose memory holds them, which then waits for no CPU."""

    num_workers: NonNegativeInt = 0
    """Processes that prepare examples beside the training process."""

    def __post_init__(self) -> None:
        check_options(self)
        if wrong := [pair for pair in self.rename if not all(pair.partition(":")[::2])]:
            raise ConfigError(f"rename takes pairs such as speech:dialogue, not '{wrong[0]}'")
