"""What MTFA finds alike: the attention of every level along time and along frequency, over a recording.

Along time each bin has a map of its own, along frequency each frame; they are averaged, so that a map says which
moments (or which frequencies) of the recording take something of each other. The mean over all pairs that lie equally
far apart says after how long something comes again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.axial import Path as AttentionPath
from unbraid.layers.axial import TemporalFrequencyAttention
from unbraid.models.mtfa.model import MTFA
from unbraid.models.resunet.config import plane_at

Axis = Literal["time", "frequency"]


@dataclass(frozen=True, kw_only=True)
class SimilarityMap:
    """One level's attention along one axis."""

    place: str
    """The stage behind which it stands, such as "E3"."""

    axis: Axis

    scale: int
    """Neighbours that were averaged before, 1 but for a pyramid."""

    weights: np.ndarray
    """(head, frame, frame_seen) or (head, freq, freq_seen): what the one takes of the other, the mean over the other
    axis. Each row sums up to one, or less where it also looks at what was added to fill the plane up."""

    step: float
    """Distance of two frames in seconds, or of two bins in Hz."""

    @property
    def name(self) -> str:
        return f"{self.place}_{self.axis}" + (f"_by_{self.scale}" if self.scale > 1 else "")

    def by_distance(self) -> np.ndarray:
        """(head, distance): the mean weight at each distance, in shares of the mean of all."""
        means = [
            (self.weights.diagonal(distance, 1, 2).mean(-1) + self.weights.diagonal(-distance, 1, 2).mean(-1)) / 2
            for distance in range(self.weights.shape[-1])
        ]
        return np.stack(means, axis=-1) / self.weights.mean(axis=(1, 2))[:, None]


@dataclass(frozen=True, kw_only=True)
class SimilarityAnalysis:
    """All that there is to see."""

    level_db: np.ndarray
    """(freq, frame): power of the recording, 0 dB where it is highest."""

    bin_hz: float

    frame_seconds: float

    maps: tuple[SimilarityMap, ...]


def analyse_similarity(model: MTFA, mixture: Float[Tensor, "channel sample"]) -> SimilarityAnalysis:
    """Runs the model over a recording of its rate and channels and looks at every attention on the way.

    Raises ConfigError where no stage is followed by attention.
    """
    modules = dict(model.core.after.items())
    if not modules:
        raise ConfigError("this model has no attention to look at", remedy="give one whose places are not empty")
    seen: dict[tuple[str, Axis, int], list[Tensor]] = defaultdict(list)
    shapes: dict[str, tuple[int, int]] = {}
    hooks = []

    def note(place: str, axis: Axis, path: AttentionPath, arguments: tuple[Tensor, ...]) -> None:
        for scale, weights in path.weights(arguments[0]).items():
            # The sum over some of the rows and their number; a few rows come at a time.
            seen[place, axis, scale] += [weights.sum(dim=0), torch.tensor(float(len(weights)))]

    def shape(place: str, module: TemporalFrequencyAttention, arguments: tuple[Tensor, ...]) -> None:
        shapes[place] = (arguments[0].shape[2], arguments[0].shape[3])

    for place, module in modules.items():
        assert isinstance(module, TemporalFrequencyAttention)
        hooks.append(module.register_forward_pre_hook(_hook(partial(shape, place))))
        if module.time is not None:
            hooks.append(module.time.register_forward_pre_hook(_hook(partial(note, place, "time"))))
        if module.frequency is not None:
            hooks.append(module.frequency.register_forward_pre_hook(_hook(partial(note, place, "frequency"))))
    try:
        with torch.inference_mode():
            model(mixture.unsqueeze(0))
    finally:
        for hook in hooks:
            hook.remove()
    spectrum = model.stft(mixture)
    power = spectrum.square().sum(dim=(0, 1))
    level = 10 * torch.log10(power / power.max().clamp_min(1e-12) + 1e-12)
    frame_seconds, bin_hz = model.stft.hop / model.spec.sample_rate, model.spec.sample_rate / model.stft.n_fft
    # What each axis holds, and what it was filled up to.
    heard = {"time": spectrum.shape[-1], "frequency": (spectrum.shape[-2] - 1) // model.config.subbands}
    filled = dict(zip(heard, plane_at(model.config, "E1", mixture.shape[-1]), strict=True))
    units = {"time": frame_seconds, "frequency": bin_hz}
    maps = []
    for (place, axis, scale), sums in seen.items():
        weights = torch.stack(sums[::2]).sum(dim=0) / torch.stack(sums[1::2]).sum()
        shrunk = scale * filled[axis] / shapes[place][0 if axis == "time" else 1]
        kept = min(weights.shape[-1], math.ceil(heard[axis] / shrunk))
        shown = weights[:, :kept, :kept].numpy()
        maps.append(SimilarityMap(place=place, axis=axis, scale=scale, weights=shown, step=units[axis] * shrunk))
    return SimilarityAnalysis(level_db=level.numpy(), bin_hz=bin_hz, frame_seconds=frame_seconds, maps=tuple(maps))


def _hook(function: Callable[..., None]) -> Callable[..., None]:
    def call(module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        function(module, arguments)

    return call
