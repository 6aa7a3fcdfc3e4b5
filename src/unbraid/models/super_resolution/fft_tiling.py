"""How a plane is cut into tiles for a convolution by spectra, and whether that is faster than a direct one.

Numbers only: operations are counted, and timed by what each kind costs on a kind of machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

TILES_AT_ONCE = 48
"""As many tiles are worked on together: fewer read the kernels' spectra too often, more do not fit into the cache."""

_LARGEST_FFT = 40
_LONG = 2000


@dataclass(frozen=True)
class Tiling:
    """How a plane is cut into overlapping tiles; a tuple is (along bins, along frames)."""

    kernel: tuple[int, int]
    fft: tuple[int, int]
    """Size of a tile, and of its transform."""

    @property
    def step(self) -> tuple[int, int]:
        """From one tile to the next: the outputs that come out of each."""
        return self.fft[0] - self.kernel[0] + 1, self.fft[1] - self.kernel[1] + 1

    @property
    def num_rows(self) -> int:
        """Rows of bins of a spectrum; the others mirror them."""
        return self.fft[0] // 2 + 1

    def counts(self, num_freqs: int, num_frames: int) -> tuple[int, int]:
        return -(-num_freqs // self.step[0]), -(-num_frames // self.step[1])


@dataclass(frozen=True)
class _Speed:
    """What operations cost on one kind of machine; only their ratios matter."""

    direct_macs: float
    """Per second, in a direct convolution."""
    product_macs: float
    transform_macs: float
    weights_floats: float
    """Kernel spectra read per second."""
    call_seconds: float
    """Of one small product."""
    bin_by_bin: bool
    """Whether the products of a row of bins are single calls."""


_SPEEDS = {
    # Measured on the machine of docs/benchmarks.md, one thread.
    "cpu": _Speed(118e9, 114e9, 30e9, 2e9, 15e-6, True),
    # Not tested on one: assumed rates of a data-centre GPU in float32, and the time that it takes to start a kernel.
    "cuda": _Speed(15e12, 15e12, 8e12, 4e11, 8e-6, False),
}


def fft_is_faster(shape: tuple[int, ...] | torch.Size, dim_out: int, tiling: Tiling, device: str = "cpu") -> bool:
    """Whether spectra are the faster way for planes (batch, dim_in, freq, frame), by operations counted and timed."""
    speed = _SPEEDS.get(device)
    if speed is None:
        return False
    batch, dim_in, num_freqs, num_frames = shape
    direct = math.prod(tiling.kernel) * batch * num_freqs * num_frames * dim_in * max(dim_out, 16) / speed.direct_macs
    return fft_seconds(batch * num_frames, num_freqs, dim_in, dim_out, tiling, speed) < 0.8 * direct


def fft_seconds(
    num_frames: int, num_freqs: int, dim_in: int, dim_out: int, tiling: Tiling, speed: _Speed = _SPEEDS["cpu"]
) -> float:
    """About how long a convolution by spectra takes."""
    (steps, hop), (lines, columns), rows = tiling.step, tiling.fft, tiling.num_rows
    freq_tiles, frame_tiles = tiling.counts(num_freqs, num_frames)
    num_tiles = freq_tiles * frame_tiles
    num_blocks = -(-num_tiles // TILES_AT_ONCE)
    forward = 2 * rows * lines * num_frames * freq_tiles * dim_in + 4 * num_tiles * rows * columns**2 * dim_in
    backward = (4 * num_tiles * rows * columns * hop + 2 * num_tiles * rows * steps * hop) * dim_out
    products = 4 * num_tiles * rows * columns * dim_in * dim_out / speed.product_macs
    weights = num_blocks * rows * columns * 2 * dim_in * dim_out / speed.weights_floats
    calls = num_blocks * rows * ((columns if speed.bin_by_bin else 1) + 2 * freq_tiles + 8) * speed.call_seconds
    return (forward + backward) / speed.transform_macs + products + weights + calls


@lru_cache(maxsize=256)
def choose_tiling(kernel: tuple[int, int], num_freqs: int, dim_in: int, dim_out: int) -> Tiling:
    """The tiles that cost least for long planes with so many bins; it does not depend on their length, so that kernels
    are transformed once."""
    height, width = kernel
    best, least = None, math.inf
    for freq_tiles in range(1, num_freqs + 1):
        lines = -(-num_freqs // freq_tiles) + height - 1
        if lines > max(_LARGEST_FFT, height) and freq_tiles < num_freqs:
            continue
        for columns in range(width, max(_LARGEST_FFT, 2 * width) + 1, 4):
            tiling = Tiling(kernel, (lines, columns))
            seconds = fft_seconds(_LONG, num_freqs, dim_in, dim_out, tiling)
            if seconds < least:
                best, least = tiling, seconds
        if lines <= height:
            break
    assert best is not None
    return best
