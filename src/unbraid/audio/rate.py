"""Changes the sample rate of a stream, without delay and to the exact length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.formats import check_rate
from unbraid.axes import Float, Int
from unbraid.errors import ConfigError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import soxr
else:
    soxr = LazyModule("soxr")

_PIECE_SAMPLES = 65_536
"""Fed to soxr at a time, so that a long block does not triple the memory."""

_CROSSINGS = 32
_KAISER_BETA = 6.8
"""70 dB."""
_CUTOFF = 0.93
"""ours: the middle of the way from flat to silent, in halves of the lower rate."""
_MOST_PHASES = 1024
"""Filters that are kept; rates with a small common divisor have theirs computed for every sample."""


def resampled_length(num_samples: int, input_rate: int, output_rate: int) -> int:
    """How many samples come out: ceil(num_samples * output_rate / input_rate).

    Rounding up, a recording of one sample or more never vanishes, and going there and back never comes out shorter than
    it was, so that `fit_length` restores the length by cutting.
    """
    return -(-num_samples * output_rate // input_rate)


class Resampler:
    """Resamples a stream block by block; the result does not depend on how it is cut into blocks.

    Linear phase, delay compensated: sample n of the input is at n / input_rate seconds in the output too. Pushed blocks
    and results are float32 (channel, sample); a result may be empty while the filter fills.
    """

    def __init__(self, input_rate: int, output_rate: int, num_channels: int, quality: str = "VHQ") -> None:
        for rate in (input_rate, output_rate):
            check_rate(rate, "the audio", ConfigError)
        if num_channels < 1:
            raise ConfigError(f"cannot resample {num_channels} channels: there must be at least 1")
        self._input_rate = input_rate
        self._output_rate = output_rate
        self._num_channels = num_channels
        self._taken = 0
        self._given = 0
        self._soxr = None
        if input_rate != output_rate:
            self._soxr = soxr.ResampleStream(input_rate, output_rate, num_channels, dtype="float32", quality=quality)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Feed (channel, sample) and take what is ready."""
        if block.ndim != 2 or block.shape[0] != self._num_channels:
            raise ConfigError(
                f"cannot resample a block of shape {block.shape}: expected ({self._num_channels}, samples)"
            )
        self._taken += block.shape[1]
        if self._soxr is None:
            return block
        return self._limited([self._feed(block)])

    def finish(self) -> np.ndarray:
        """What is left in the filter; in total `resampled_length` of what was pushed has then come out."""
        if self._soxr is None or self._taken == 0:
            return np.zeros((self._num_channels, 0), np.float32)
        # soxr rounds the length to the nearest; these zeros are what it takes to be beyond the end anyway.
        tail = np.zeros((self._num_channels, self._input_rate // self._output_rate + 2), np.float32)
        return self._limited([self._feed(tail), self._feed(tail[:, :0], last=True)])

    def _feed(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        assert self._soxr is not None
        # A piece may come out 384 times as long.
        size = max(1, _PIECE_SAMPLES * self._input_rate // max(self._input_rate, self._output_rate))
        pieces = []
        for start in range(0, max(1, block.shape[1]), size):
            piece = np.ascontiguousarray(block[:, start : start + size].T, dtype=np.float32)
            pieces.append(self._soxr.resample_chunk(piece, last=last).T)
        return np.concatenate(pieces, axis=1)

    def _limited(self, parts: list[np.ndarray]) -> np.ndarray:
        ready = np.ascontiguousarray(np.concatenate(parts, axis=1))
        ready = ready[:, : resampled_length(self._taken, self._input_rate, self._output_rate) - self._given]
        self._given += ready.shape[1]
        return ready


class PromptResampler:
    """`Resampler` for sound that is heard while it arrives: holds back 32 samples of the lower rate, 2 ms at 16 kHz.

    soxr's filters are sharper and hold back 20 to 140 ms. A sinc under a Kaiser window, 32 zero crossings to either
    side: flat to 0.86 of half the lower rate, and 70 dB down from that half on, where it would alias.
    """

    def __init__(self, input_rate: int, output_rate: int, num_channels: int) -> None:
        for rate in (input_rate, output_rate):
            check_rate(rate, "the audio", ConfigError)
        self._input_rate, self._output_rate = input_rate, output_rate
        shared = math.gcd(input_rate, output_rate)
        # Sample n comes out at n * down / up of the input's samples.
        self._up, self._down = output_rate // shared, input_rate // shared
        self._scale = min(1.0, output_rate / input_rate)
        self._half = 0 if self._up == self._down else math.ceil(_CROSSINGS / self._scale)
        few = self._half and self._up <= _MOST_PHASES
        self._table = self._filters(np.arange(self._up)) if few else None
        self._waiting = np.zeros((num_channels, max(0, self._half - 1)), np.float32)
        self._first = -self._waiting.shape[1]
        self._taken, self._given = 0, 0

    def push(self, block: Float[np.ndarray, "channel sample"]) -> Float[np.ndarray, "channel out_sample"]:
        """Feed and take what is ready."""
        self._taken += block.shape[1]
        if not self._half:
            return block
        return self._advance(block, -(-max(0, self._taken - self._half) * self._up // self._down))

    def finish(self) -> Float[np.ndarray, "channel out_sample"]:
        """The rest; in total `resampled_length` of what was pushed has then come out."""
        silence = np.zeros((self._waiting.shape[0], 2 * self._half), np.float32)
        if not self._half:
            return silence
        return self._advance(silence, resampled_length(self._taken, self._input_rate, self._output_rate))

    def _advance(self, block: np.ndarray, ready: int) -> np.ndarray:
        """Takes a block in and gives the samples up to `ready`."""
        self._waiting = np.concatenate([self._waiting, block.astype(np.float32)], axis=1)
        if ready <= self._given:
            return self._waiting[:, :0]
        times = np.arange(self._given, ready, dtype=np.int64) * self._down
        places, phases = times // self._up, times % self._up
        filters = self._filters(phases) if self._table is None else self._table[phases]
        starts = places - self._half + 1 - self._first
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, 2 * self._half, axis=1)[:, starts]
        self._given = ready
        passed = ready * self._down // self._up - self._half + 1 - self._first
        self._waiting, self._first = self._waiting[:, passed:].copy(), self._first + passed
        return np.einsum("cnk,nk->cn", windows, filters)

    def _filters(self, phases: Int[np.ndarray, " out_sample"]) -> Float[np.ndarray, "out_sample tap"]:
        """What weights the samples around an output that lies phase / up after one of them."""
        away = np.arange(1 - self._half, self._half + 1) - phases[:, None] / self._up
        window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (away / self._half) ** 2, 0, None)))
        filters = np.sinc(_CUTOFF * self._scale * away) * window
        return (filters / filters.sum(axis=1, keepdims=True)).astype(np.float32)


def resample(samples: np.ndarray, input_rate: int, output_rate: int) -> np.ndarray:
    """Resample a whole (channel, sample) array; gives `resampled_length` samples."""
    resampler = Resampler(input_rate, output_rate, samples.shape[0])
    return np.concatenate([resampler.push(samples), resampler.finish()], axis=1)
