"""What a recording is: talk, music or film sound, heard in its first minute, so that a fitting model can be chosen.

    samples at 16 kHz -> windows of 3 s -> features -> a small network says what speech, music and effects each holds
                      -> how these are spread over the windows -> another one says talk, music or film

Features do not know the level: the shape of the spectrum and how it moves. Nothing above 6 kHz is looked at, and
no channel apart, so that neither the bandwidth of a recording nor its format gives an answer away. The network is
trained by `python -m benchmarks.training.detector`, which also prints how often it is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from unbraid.audio.rate import Resampler
from unbraid.separation.inputs import Input, Reader, open_input

Kind = Literal["talk", "music", "film"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PARTS = ("speech", "music", "effects")

RATE = 16_000
"""Hz at which recordings are heard."""
HEARD_SECONDS = 60.0
_WINDOW_SECONDS = 3.0
_FRAME, _HOP = 512, 512
_NUM_BANDS = 24
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 6000.0
_MODULATIONS_HZ = ((0.5, 2.0), (2.0, 4.0), (4.0, 8.0), (8.0, 16.0))
_QUIET_DB = 50.0
"""A window so far below the loudest one says nothing."""
_SILENCE = 1e-5
_TONE_HZ, _TONE_SHARE = 3.0, 0.98
_FILE = Path(__file__).with_name("detector.safetensors")


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a recording seems to be."""

    kind: Kind | None
    """None where there is nothing that could be separated."""

    nothing: Literal["silence", "a steady tone"] | None = None
    """What there is instead."""

    certainty: float
    """Probability of that kind, between 0 and 1."""

    probabilities: dict[str, float]


class Detector(nn.Module):
    """A network for windows, and one for recordings."""

    def __init__(self, num_features: int, hidden: int = 32, pooled_hidden: int = 16) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(num_features), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(num_features), requires_grad=False)
        self.window = nn.Sequential(nn.Linear(num_features, hidden), nn.SiLU(), nn.Linear(hidden, len(PARTS)))
        self.whole = nn.Sequential(
            nn.Linear(4 * len(PARTS), pooled_hidden), nn.SiLU(), nn.Linear(pooled_hidden, len(KINDS))
        )

    def windows(self, features: torch.Tensor) -> torch.Tensor:
        """Scores of parts, (window, part), from (window, feature)."""
        return self.window(((features - self.mean) / self.scale).clamp(-5, 5))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scores of kinds for one recording from its windows."""
        return self.whole(pooled(self.windows(features)))


def pooled(scores: torch.Tensor) -> torch.Tensor:
    """How the shares of parts are spread over windows: mean, deviation, and two quantiles."""
    shares = scores.sigmoid()
    spread = shares.std(dim=0) if len(shares) > 1 else torch.zeros_like(shares[0])
    low, high = (shares.quantile(share, dim=0) for share in (0.1, 0.9))
    return torch.cat([shares.mean(dim=0), spread, low, high])


def detect(source: Input, sample_rate: int | None = None) -> Detection:
    """What the first minute of a recording is; `source` is what a Separator takes, but for standard input."""
    reader = open_input(source, sample_rate)
    try:
        return detect_samples(_first_minute(reader))
    finally:
        reader.close()


def detect_samples(samples: NDArray[np.float32]) -> Detection:
    """What mono samples at 16 kHz are."""
    features = features_of(samples)
    nothing = "silence" if not len(features) else "a steady tone" if _is_tone(samples) else None
    if nothing is not None:
        return Detection(kind=None, nothing=nothing, certainty=0.0, probabilities={})
    with torch.inference_mode():
        probabilities = _detector()(torch.from_numpy(features)).softmax(dim=-1)
    best = int(probabilities.argmax())
    return Detection(
        kind=KINDS[best],
        certainty=float(probabilities[best]),
        probabilities={kind: float(value) for kind, value in zip(KINDS, probabilities, strict=True)},
    )


def features_of(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of every window that is not silent, (window, feature)."""
    windows, heard = heard_windows(samples)
    rows = [_features(window / _rms(window)) for window, wanted in zip(windows, heard, strict=True) if wanted]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, num_features()), np.float32)


def heard_windows(samples: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
    """The windows of a recording, and which of them are not silent; a shorter recording is repeated."""
    length = round(_WINDOW_SECONDS * RATE)
    if len(samples) < length:
        samples = np.resize(samples, length) if len(samples) else np.zeros(length, np.float32)
    windows = [samples[start : start + length] for start in range(0, len(samples) - length + 1, length)]
    levels = np.array([_rms(window) for window in windows])
    return windows, levels > max(_SILENCE, levels.max() * 10 ** (-_QUIET_DB / 20))


def _is_tone(samples: NDArray[np.float32]) -> bool:
    """Whether nearly all power of the whole lies at one frequency."""
    spectrum = np.square(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
    spectrum[0] = 0.0
    peak = int(spectrum.argmax())
    # A tone that is a little unsteady, or digitised badly, is a few hertz wide.
    reach = max(3, round(_TONE_HZ * len(samples) / RATE))
    return bool(spectrum[max(0, peak - reach) : peak + reach + 1].sum() > _TONE_SHARE * spectrum.sum())


def _rms(samples: NDArray[np.float32]) -> np.float32:
    return np.sqrt(np.mean(np.square(samples)))


@cache
def num_features() -> int:
    noise = np.random.default_rng(0).standard_normal(round(_WINDOW_SECONDS * RATE)).astype(np.float32)
    return len(_features(noise))


def _features(window: NDArray[np.float32]) -> NDArray[np.floating]:
    """Of one window at a level of one."""
    frames = np.lib.stride_tricks.sliding_window_view(window, _FRAME)[::_HOP] * np.hanning(_FRAME).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1))) + np.float32(1e-6)
    bands = power @ _band_matrix().T
    logs = np.log(bands + 1e-6)
    level = np.log(power.sum(axis=1))
    loudest = level.max()
    centred = logs - logs.mean()
    used = power[:, : round(_HIGHEST_HZ / RATE * _FRAME)]
    shape = np.log(used) - _smoothed(np.log(used))
    return np.concatenate(
        [
            centred.mean(axis=0),
            logs.std(axis=0),
            _modulations(logs),
            _flux(logs),
            [np.mean(level < loudest - 3.0), np.mean(level < loudest - 6.0), level.std()],
            _flatness(used),
            [_stability(shape, step) for step in (1, 2, 6, 12)],
            _pitch(frames),
        ]
    )


def _modulations(logs: NDArray[np.floating]) -> NDArray[np.floating]:
    """How the levels of four broad bands move, by rates of movement."""
    broad = logs.reshape(len(logs), 4, -1).mean(axis=2)
    spectrum = np.square(np.abs(np.fft.rfft((broad - broad.mean(axis=0)) * np.hanning(len(broad))[:, None], axis=0)))
    rates = np.fft.rfftfreq(len(broad), _HOP / RATE)
    parts = [spectrum[(rates >= low) & (rates < high)].sum(axis=0) for low, high in _MODULATIONS_HZ]
    whole = np.stack(parts) + 1e-6
    return np.concatenate([(whole / whole.sum(axis=0)).ravel(), np.log(whole.sum(axis=0))])


def _flux(logs: NDArray[np.floating]) -> NDArray[np.floating]:
    rise = np.maximum(np.diff(logs, axis=0), 0).mean(axis=1)
    return np.array([rise.mean(), rise.std(), np.quantile(rise, 0.95)])


def _flatness(power: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of three parts of the spectrum: how far from a flat one, and how that varies."""
    values = []
    for part in np.array_split(power, 3, axis=1):
        flatness = np.exp(np.log(part).mean(axis=1)) / part.mean(axis=1)
        values += [flatness.mean(), flatness.std()]
    return np.array(values)


def _stability(shape: NDArray[np.floating], step: int) -> float:
    """How alike the fine structure of the spectrum stays over so many frames: notes hold, voices glide."""
    before, after = shape[:-step], shape[step:]
    norm = np.sqrt(np.square(before).sum(axis=1) * np.square(after).sum(axis=1)) + 1e-9
    return float(np.mean((before * after).sum(axis=1) / norm))


def _pitch(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """How periodic frames are in the range of voices, and how the period moves."""
    spectrum = np.square(np.abs(np.fft.rfft(frames, 2 * _FRAME, axis=1)))
    correlation = np.fft.irfft(spectrum, axis=1)[:, :_FRAME]
    correlation = correlation / (correlation[:, :1] + 1e-9)
    low, high = RATE // 400, RATE // 80
    peak = correlation[:, low:high].max(axis=1)
    period = np.log2(low + correlation[:, low:high].argmax(axis=1))
    steps = np.abs(np.diff(period))[(peak[1:] > 0.4) & (peak[:-1] > 0.4)]
    moved = [np.mean(steps < 0.01), np.mean((steps >= 0.01) & (steps < 0.15))] if len(steps) else [0.0, 0.0]
    return np.array([peak.mean(), peak.std(), np.mean(peak > 0.5), *moved])


def _smoothed(logs: NDArray[np.floating]) -> NDArray[np.floating]:
    """Along frequency, over about 280 Hz."""
    width = 9
    padded = np.pad(logs, ((0, 0), (width // 2, width // 2)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    return (sums[:, width:] - sums[:, :-width]) / width


@cache
def _band_matrix() -> NDArray[np.floating]:
    """Triangles that are equally wide in mel."""

    def mel(hz: float | NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(2595 * np.log10(1 + np.asarray(hz) / 700))

    edges = np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), _NUM_BANDS + 2)
    bins = mel(np.fft.rfftfreq(_FRAME, 1 / RATE))
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


def _first_minute(reader: Reader) -> NDArray[np.float32]:
    info = reader.info
    resampler = Resampler(info.sample_rate, RATE, 1)
    pieces, heard = [], 0
    for block in reader.blocks(max(1, info.sample_rate)):
        mono = np.nan_to_num(block).mean(axis=0, keepdims=True, dtype=np.float32)
        pieces.append(resampler.push(mono))
        heard += block.shape[-1]
        if heard >= HEARD_SECONDS * info.sample_rate:
            break
    pieces.append(resampler.finish())
    return np.concatenate(pieces, axis=-1)[0].astype(np.float32)


@cache
def _detector() -> Detector:
    tensors = load_file(_FILE)
    detector = Detector(len(tensors["mean"]), tensors["window.0.weight"].shape[0])
    detector.load_state_dict(tensors)
    return detector.eval()
