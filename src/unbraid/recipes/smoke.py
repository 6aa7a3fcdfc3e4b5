"""Every recipe in seconds on a CPU: the same run with a tiny model, on data made on the spot.

It shows that recipe, model, loss and data go together before days of a GPU are spent, and the tests run it for all.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import ConfigError
from unbraid.models.catalog import ModelConfig, architecture_name, build_model
from unbraid.models.contract import ModelSpec
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.training.config import (
    AveragingConfig,
    GivenMixtures,
    LogConfig,
    SpeakerMixing,
    StemMixing,
    TrainingConfig,
    ValidationConfig,
)

_TINY_UNET = {"sample_rate": 8000, "n_fft": 128, "hop": 64, "width": 1.0, "channels": (4, 4, 4, 4, 8), "units": 1}

TINY: Mapping[str, Mapping[str, object]] = {
    "dprnn": {"dim": 8, "num_blocks": 2, "chunk_frames": 40, "sequence": {"hidden_dim": 6}},
    "mtfa": _TINY_UNET,
    "resunet": _TINY_UNET,
    "s4m": {"kernel_ms": 8.0, "bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 3},
    "s4m-causal": {"kernel_ms": 8.0, "bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 3},
    "sepformer": {
        "dim": 8,
        "num_layers": 1,
        "num_blocks": 2,
        "feedforward_dim": 12,
        "sequence": {"inner_dim": 8, "num_heads": 2},
    },
    "sfc": {
        "sample_rate": 8000,
        "n_fft": 128,
        "num_bands": 12,
        "compression": {"inner_dim": 8, "num_heads": 2, "narrow_bands": 24, "lowest_bins": 1},
        "separator": {
            "dim": 8,
            "num_blocks": 1,
            "num_groups": 2,
            "feedforward_dims": (6, 6),
            "sequence": {"inner_dim": 8, "num_heads": 2, "hidden_dim": 6},
        },
    },
}
"""Per architecture, what makes a model of it tiny; inside a part of the config, what the part in question has."""

TINY_SUPER_RESOLUTION = {
    "window_ms": 8.0,
    "hidden_dims": (4, 4, 4),
    "kernel_sizes": (3, 3, 3, 3),
    "hidden_dim": 4,
    "num_blocks": 2,
    "narrow_bands": 8,
    "num_bands": 2,
    "network": {"dim": 4, "num_blocks": 1, "num_groups": 1, "feedforward_dims": (4, 4)},
}

_SEGMENT_SECONDS = 0.5


def smoke(config: TrainingConfig) -> TrainingConfig:
    """The recipe at its smallest: its own loss, optimiser, schedule and mixing, three steps and a validation."""
    return replace(
        config,
        model=shrunken(config.model),
        mixing=replace(config.mixing, segment_seconds=_SEGMENT_SECONDS),
        validation=ValidationConfig(every=2, items=2, piece_seconds=2.0, metric=config.validation.metric),
        averaging=AveragingConfig(ema_decay=config.averaging.ema_decay, keep_best=min(config.averaging.keep_best, 2)),
        log=LogConfig(every=1, sounds=1),
        layout="auto",
        steps=3,
        batch_size=2,
        accumulate=1,
        save_every=3,
        precision="32-true",
        compile=False,
        num_workers=0,
    )


def shrunken(config: ModelConfig) -> Any:
    """The config at its smallest, of the same kind and with the same choices."""
    return _shrunk(config, _tiny(config))


def _tiny(config: ModelConfig) -> Mapping[str, object]:
    if isinstance(config, WithSuperResolutionConfig):
        return {"separator": _tiny(config.separator), "super_resolution": TINY_SUPER_RESOLUTION}
    name = architecture_name(config)
    if name not in TINY:
        raise ConfigError(f"say in recipes/smoke.py what makes a model of the architecture '{name}' tiny")
    return TINY[name]


def _shrunk(config: Any, changes: Mapping[str, object]) -> Any:
    def value(name: str, change: object) -> object:
        if not isinstance(change, Mapping):
            return change
        part = getattr(config, name)
        known = {field.name for field in fields(part)}
        return _shrunk(part, {key: inner for key, inner in change.items() if key in known})

    return replace(config, **{name: value(name, change) for name, change in changes.items()})


def make_data(config: TrainingConfig, folder: Path) -> Path:
    """A data set of a few seconds that this run can be trained on; returns its folder."""
    spec = build_model(config.model).spec
    rows: list[dict[str, str]] = []
    for split in ("train", "valid"):
        for number in range(3):
            for source in _sources(config, spec):
                row = {"path": f"{split}/{number}/{source}.wav", "split": split} | _labels(config, spec, number, source)
                _write(folder / row["path"], spec, f"{split} {number} {source}")
                rows.append(row)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "split", "track", "stem", "speaker"], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def _sources(config: TrainingConfig, spec: ModelSpec) -> list[str]:
    match config.mixing:
        case SpeakerMixing(noise=noise):
            return ["speech", *([noise] if noise else [])]
        case StemMixing(drawings=drawings):
            return list(dict.fromkeys([*drawings, *spec.sources]))
        case GivenMixtures():
            return list(spec.sources)


def _labels(config: TrainingConfig, spec: ModelSpec, number: int, source: str) -> dict[str, str]:
    if isinstance(config.mixing, SpeakerMixing):
        return {"speaker": f"{number}"} if source == "speech" else {"stem": source}
    label = {"track": f"{number}", "stem": source}
    return label | ({"speaker": f"pair {number}"} if spec.exchangeable else {})


def _write(path: Path, spec: ModelSpec, name: str) -> None:
    """Two seconds of a buzz with pauses; every name has a pitch of its own."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    time = np.arange(2 * spec.sample_rate) / spec.sample_rate
    pitch = generator.uniform(80, 300)
    buzz = sum(np.sin(2 * np.pi * pitch * part * time) / part for part in range(1, 8))
    sound = 0.05 * buzz * np.clip(np.sin(2 * np.pi * 1.5 * time + generator.uniform(0, 6)) + 0.7, 0, 1)
    noise = 1e-3 * generator.standard_normal((len(time), spec.num_channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    import soundfile

    soundfile.write(path, sound[:, None] + noise, spec.sample_rate)
