"""Changes the sample rate of a stream, without delay and to the exact length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.formats import check_rate
from unbraid.errors import ConfigError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import soxr
else:
    soxr = LazyModule("soxr")

_PIECE_SAMPLES = 65_536
"""Fed to soxr at a time, so that a long block does not triple the memory."""


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


def resample(samples: np.ndarray, input_rate: int, output_rate: int) -> np.ndarray:
    """Resample a whole (channel, sample) array; gives `resampled_length` samples."""
    resampler = Resampler(input_rate, output_rate, samples.shape[0])
    return np.concatenate([resampler.push(samples), resampler.finish()], axis=1)
