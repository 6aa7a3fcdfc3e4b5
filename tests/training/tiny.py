"""A run that takes seconds, and what tests ask of its folder."""

import csv

import torch

from unbraid.data.mixing.drawing import SpeakerMixing
from unbraid.models.s4m.model import S4MConfig
from unbraid.training.config import (
    AveragingConfig,
    LogConfig,
    LossConfig,
    OptimiserConfig,
    TrainingConfig,
    Trapezoid,
    ValidationConfig,
)
from unbraid.weights.store import inspect_model

CONFIG = TrainingConfig(
    name="tiny",
    model=S4MConfig(
        sample_rate=8000, kernel_ms=8.0, bottleneck_dim=16, hidden_dim=32, num_rounds=2, depth=3, chunk_seconds=2.0
    ),
    mixing=SpeakerMixing(segment_seconds=0.8),
    loss=LossConfig(floor_db=-30.0),
    optimiser=OptimiserConfig(learning_rate=3e-3),
    schedule=Trapezoid(warmup_steps=5, decay_share=0.0),
    averaging=AveragingConfig(ema_decay=0.9, ema_start_step=2),
    validation=ValidationConfig(every=5, items=3),
    log=LogConfig(every=2, sounds=1),
    steps=12,
    batch_size=2,
    save_every=4,
)


def checkpoint(out):
    return torch.load(out / "last.ckpt", weights_only=True)


def logged(out, column):
    """Values of a column over all starts, in order."""
    values = []
    for path in sorted((out / "logs").glob("*/metrics.csv")):
        with path.open() as file:
            values += [float(row[column]) for row in csv.DictReader(file) if row.get(column)]
    return values


def assert_same(one, other, path=""):
    """Two checkpoints hold exactly the same."""
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{index}]")
    else:
        assert one == other or one != one, path


_PARTS = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "callbacks", "global_step")


def assert_same_outcome(one, other, but=(), weights=True):
    """Two runs ended with the same state, and with the same exported weights."""
    first, second = checkpoint(one), checkpoint(other)
    for part in _PARTS:
        if part not in but:
            assert_same(first[part], second[part], part)
    if not weights:
        return
    for path in sorted(one.rglob("*.safetensors")):
        twin = other / path.relative_to(one)
        assert inspect_model(path).sha256 == inspect_model(twin).sha256, path.name
        assert inspect_model(path).facts == inspect_model(twin).facts
    assert len(list(one.rglob("*.safetensors"))) == len(list(other.rglob("*.safetensors")))
