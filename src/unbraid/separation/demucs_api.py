"""The shape of `demucs.api` for programs that were written for it; `unbraid.Separator` is the way for new ones.

    from unbraid.separation.demucs_api import DemucsSeparator as Separator, save_audio

Everything comes at the model's rate and with its channels, as there, and the stems of a whole recording are in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from unbraid.audio.formats import Encoding, SampleFormat
from unbraid.audio.recording import Recording, as_samples
from unbraid.audio.writing import write_audio
from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.options import check_option
from unbraid.separation.events import Block, Progress, Started
from unbraid.separation.separator import Separator
from unbraid.weights.listing import bundled_models

Clip = Literal["rescale", "clamp", "tanh", "none"]

Origin = Float[Tensor, "channel sample"]
Separated = tuple[Origin, dict[str, Tensor]]

_SAMPLES: dict[int, SampleFormat] = {16: "int16", 24: "int24", 32: "int32"}


class DemucsSeparator:
    """`demucs.api.Separator`: the same settings, methods and results, with any model of unbraid."""

    def __init__(
        self,
        model: str = "htdemucs",
        repo: str | os.PathLike[str] | None = None,
        device: str = "auto",
        shifts: int = 1,
        overlap: float = 0.25,
        split: bool = True,
        segment: float | None = None,
        jobs: int = 0,
        progress: bool = False,
        callback: Callable[[dict[str, Any]], object] | None = None,
        callback_arg: Mapping[str, Any] | None = None,
    ) -> None:
        """`repo` is a folder in which `model` is looked for; `jobs` and `progress` are taken and do nothing. `shifts` 0
        and 1 are one pass."""
        self._model = str(Path(repo) / model) if repo is not None else model
        self._settings: dict[str, Any] = {
            "device": device,
            "shifts": shifts,
            "overlap": overlap,
            "split": split,
            "segment": segment,
            "callback": callback,
            "callback_arg": callback_arg,
        }
        self._load()

    def update_parameter(self, **settings: Any) -> None:
        """Other values for settings of the constructor, but the model."""
        for name in settings:
            if name not in self._settings and name not in ("jobs", "progress"):
                raise ConfigError(f"there is no setting '{name}'; there are: {', '.join(self._settings)}")
        before, self._settings = self._settings, {**self._settings, **settings}
        try:
            self._load()
        except BaseException:
            self._settings = before
            raise

    @property
    def samplerate(self) -> int:
        """Of all that comes out, in Hz."""
        return self._separator.spec.sample_rate

    @property
    def audio_channels(self) -> int:
        return self._separator.spec.num_channels

    @property
    def model(self) -> torch.nn.Module:
        return self._separator.model

    def separate_audio_file(self, file: str | os.PathLike[str]) -> Separated:
        """The recording, and its stems by name."""
        return self._separate(Recording.read(file))

    def separate_tensor(self, wav: Float[Tensor, "channel sample"], sr: int | None = None) -> Separated:
        """The same of samples in memory; `sr` in Hz, by default the model's."""
        return self._separate(Recording(as_samples(wav.detach().cpu().numpy()), sr or self.samplerate))

    def _load(self) -> None:
        chosen = self._settings
        split, segment = chosen["split"], chosen["segment"]
        self._separator = Separator(
            self._model,
            device=chosen["device"],
            shifts=max(1, chosen["shifts"]),
            overlap=chosen["overlap"] if split else None,
            segment_seconds=segment if split else "whole",
        )

    def _separate(self, recording: Recording) -> Separated:
        samples = _with_channels(recording.resampled(self.samplerate).samples, self.audio_channels)
        blocks: list[np.ndarray] = []
        names: tuple[str, ...] = ()
        for event in self._separator.stream(Recording(samples, self.samplerate)):
            match event:
                case Started():
                    names = event.stems
                case Progress() if event.stage == "separate":
                    self._tell(round(event.done_seconds * self.samplerate), samples.shape[1])
                case Block():
                    blocks.append(event.samples)
        stems = torch.from_numpy(np.concatenate(blocks, axis=-1))
        return torch.from_numpy(samples), dict(zip(names, stems, strict=True))

    def _tell(self, offset: int, length: int) -> None:
        callback = self._settings["callback"]
        if callback is not None:
            place = {"model_idx_in_bag": 0, "shift_idx": 0, "segment_offset": offset, "state": "end"}
            callback({**place, "audio_length": length, "models": 1, **(self._settings["callback_arg"] or {})})


def save_audio(
    wav: Float[Tensor, "channel sample"],
    path: str | os.PathLike[str],
    samplerate: int,
    bitrate: int = 320,
    clip: Clip = "rescale",
    bits_per_sample: Literal[16, 24, 32] = 16,
    as_float: bool = False,
    preset: int = 2,
) -> None:
    """Writes WAV, FLAC, MP3 or Ogg, by the name's ending; `preset` is taken and does nothing.

    `clip`: `rescale` turns the whole down to below full scale, `clamp` and `none` cut peaks off, `tanh` bends them.
    """
    check_option("clip", clip, Clip)
    check_option("bits_per_sample", bits_per_sample, Literal[16, 24, 32])
    samples = as_samples(wav.detach().cpu().numpy())
    if clip == "rescale":
        samples = samples / max(1.01 * float(np.abs(samples).max(initial=0.0)), 1.0)
    elif clip == "tanh":
        samples = np.tanh(samples)
    container = Encoding.for_path(Path(path)).container
    sample: SampleFormat | None = "float32" if as_float else _SAMPLES[bits_per_sample]
    if container == "flac":
        sample = _SAMPLES[min(bits_per_sample, 24)]
    elif container != "wav":
        sample = None
    encoding = Encoding(container=container, sample=sample, bitrate_kbps=bitrate)
    write_audio(path, samples.astype(np.float32), samplerate, encoding)


def list_demucs_models() -> dict[str, dict[str, str]]:
    """`demucs.api.list_models`: the bundled models; `unbraid models list` has the published ones as well."""
    return {"single": {name: name for name in bundled_models()}, "bag": {}}


def _with_channels(samples: np.ndarray, num_channels: int) -> np.ndarray:
    """As demucs does it: mono is repeated, many become mono as their mean, else the first ones are taken."""
    if samples.shape[0] == num_channels:
        return np.ascontiguousarray(samples)
    if num_channels == 1:
        return samples.mean(axis=0, keepdims=True, dtype=np.float32)
    if samples.shape[0] == 1:
        return np.repeat(samples, num_channels, axis=0)
    if samples.shape[0] < num_channels:
        raise ConfigError(f"a model of {num_channels} channels takes no recording of {samples.shape[0]}")
    return np.ascontiguousarray(samples[:num_channels])
