"""Separates sound while it arrives, at any rate, with a model that never looks ahead.

    push: samples that are no numbers -> silence, counted -> the model's rate -> model.open_session() -> back

Nothing is done about the level: causal models see to it themselves, as nobody knows how loud a recording will get.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unbraid.audio.pcm import is_sample
from unbraid.audio.rate import PromptResampler
from unbraid.axes import Float
from unbraid.errors import ConfigError
from unbraid.models.contract import SeparationModel
from unbraid.separation.device import choose_device
from unbraid.weights.listing import LIVE_MODEL, bundled_models
from unbraid.weights.store import load_model

_SETTLED_SECONDS = 0.5
"""After so much sound, a resampler is no longer filling."""
_STEP_SECONDS = 0.001


class LiveSeparator:
    """One recording that arrives in blocks of any size, at its own rate; state of fixed size."""

    def __init__(
        self,
        model: str | Path | SeparationModel = LIVE_MODEL,
        sample_rate: int | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        """`sample_rate`, in Hz, is what comes in and goes out; by default the model's own, which has least latency.

        A name or a file is loaded onto `device`; a model of yours runs where it is.
        """
        if model == LIVE_MODEL and LIVE_MODEL not in bundled_models():
            raise ConfigError(
                f"no trained '{LIVE_MODEL}' comes with this release",
                remedy="name a weights file with `model`, such as runs/speech-live/best.safetensors, which training "
                "by the recipe of that name writes",
            )
        named = isinstance(model, str | Path)
        self.model = load_model(model, choose_device(device)) if named else model.eval()
        self.spec = self.model.spec
        if self.spec.num_channels != 1:
            raise ConfigError(f"the model takes {self.spec.num_channels} channels and a live session takes one")
        self.sample_rate = sample_rate or self.spec.sample_rate
        self._session = self.model.open_session()
        self._warm_up()
        self._begin()
        self.replaced_samples = 0
        """How many samples were NaN, infinite or out of any range, and were taken as silence."""
        on_the_way = self._session.latency_samples / self.spec.sample_rate * self.sample_rate
        self.latency_samples = round(on_the_way) + _resampling_delay(self.sample_rate, self.spec.sample_rate)
        """How much later a sample may come out than it went in, at `sample_rate`."""

    @property
    def latency_ms(self) -> float:
        return 1000 * self.latency_samples / self.sample_rate

    def push(self, samples: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "source out_sample"]:
        """What is ready now of every source, none or more samples."""
        good = is_sample(samples)
        if not good.all():
            self.replaced_samples += int(np.size(good) - np.count_nonzero(good))
            samples = np.where(good, samples, 0)
        self._taken += samples.size
        estimates = self._session.push(_to_model(self._incoming.push(samples[None].astype(np.float32))))
        ready = self._outgoing.push(_from_model(estimates))
        self._given += ready.shape[1]
        return ready

    def flush(self) -> Float[np.ndarray, "source out_sample"]:
        """The rest, as long in all as what was pushed; the next push begins a new recording."""
        last = [self._session.push(_to_model(self._incoming.finish())), self._session.flush()]
        parts = [self._outgoing.push(_from_model(part)) for part in last]
        parts.append(self._outgoing.finish())
        rest = np.concatenate(parts, axis=1)[:, : self._taken - self._given]
        self._begin()
        return rest

    def _begin(self) -> None:
        own, theirs = self.sample_rate, self.spec.sample_rate
        self._incoming = PromptResampler(own, theirs, 1)
        self._outgoing = PromptResampler(theirs, own, self.spec.num_sources)
        self._taken, self._given = 0, 0

    def _warm_up(self) -> None:
        """The first blocks of a process take many times as long as all others."""
        for _ in range(3):
            self._session.push(torch.zeros(1, 1, self.spec.sample_rate // 20))
        self._session.flush()


def _to_model(samples: Float[np.ndarray, "1 sample"]) -> torch.Tensor:
    return torch.from_numpy(samples)[None]


def _from_model(estimates: Float[torch.Tensor, "1 source 1 sample"]) -> Float[np.ndarray, "source sample"]:
    return estimates[0, :, 0].float().cpu().numpy()


def _resampling_delay(rate: int, model_rate: int) -> int:
    """The most that two resamplers, there and back, hold back, in samples at `rate`."""
    if rate == model_rate:
        return 0
    there, back = PromptResampler(rate, model_rate, 1), PromptResampler(model_rate, rate, 1)
    step = np.zeros((1, max(1, round(rate * _STEP_SECONDS))), np.float32)
    taken, given, most = 0, 0, 0
    while taken < rate * _SETTLED_SECONDS:
        taken += step.shape[1]
        given += back.push(there.push(step)).shape[1]
        most = max(most, taken - given)
    return most
