"""What the finished runs of a comparison cost and reach, for the scripts that print tables of them.

The folder of a run holds `best.safetensors`, and in `scores.json` what `unbraid evaluate` made of it on the test list.
"""

import time
from pathlib import Path

import torch

from unbraid.evaluation.compare import compare
from unbraid.evaluation.scores import Scores, read_scores
from unbraid.inspection.profile import count_macs, noise
from unbraid.models.contract import SeparationModel
from unbraid.weights.store import load_model


def models_of(folders: list[Path]) -> dict[Path, SeparationModel]:
    return {folder: load_model(str(folder / "best.safetensors")) for folder in folders}


def scores_of(folders: list[Path], file: str = "scores.json") -> dict[Path, Scores]:
    return {folder: read_scores(folder / file) for folder in folders}


def cpu_seconds(models: dict[Path, SeparationModel], seconds: float, repeats: int = 3) -> dict[Path, float]:
    """Per second of sound, the least of so many; in turn, so that whatever else the machine does meets all of them."""
    taken: dict[Path, list[float]] = {folder: [] for folder in models}
    for _ in range(repeats):
        for folder, model in models.items():
            mixture = noise(model, seconds)
            start = time.process_time()
            with torch.inference_mode():
                model(mixture)
            taken[folder].append(time.process_time() - start)
    return {folder: min(times) / seconds for folder, times in taken.items()}


def size_and_macs(model: SeparationModel, seconds: float) -> tuple[int, float]:
    """Parameters, and 1e9 MACs per second of sound."""
    count = sum(parameter.numel() for parameter in model.parameters())
    return count, count_macs(model, noise(model, seconds))[""] / seconds / 1e9


def change(first: Scores, second: Scores, measure: str) -> str:
    """The mean of paired differences with its interval; nothing beside itself."""
    if first is second:
        return ""
    mean = compare(first, second, measure).overall.mean
    return f"{mean.value:+.2f} ({mean.low:+.2f} to {mean.high:+.2f})"
