"""Integer full scale, both ways: 2 ** (bits - 1) is 1.0, as soundfile reads it."""

from __future__ import annotations

import numpy as np

LARGEST_SAMPLE = 2.0**32
"""ours: as large as an integer of 32 bits that was never scaled; beyond it, squares of squares leave float32."""


def is_sample(block: np.ndarray) -> np.ndarray:
    """Where a block holds what can be worked with: neither NaN nor infinite, nor a damaged exponent."""
    return np.abs(block) <= LARGEST_SAMPLE


def quantise(block: np.ndarray, bits: int) -> np.ndarray:
    """Round samples to integers of `bits` bits, in int32; what is beyond full scale is clamped and never wraps."""
    full_scale = 2.0 ** (bits - 1)
    # float32 holds every integer of up to 24 bits, and not 2 ** 31 - 1: there the clamp would come out one too high.
    # The kind is said to the product, for NumPy 1 takes no notice of that of a single number.
    kind = np.float32 if block.dtype == np.float32 and bits <= 24 else np.float64
    scaled = np.multiply(block, full_scale, dtype=kind)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -full_scale, full_scale - 1, out=scaled).astype(np.int32)


def to_float32(samples: np.ndarray) -> np.ndarray:
    """Integer samples, signed or uint8, as float32 in [-1, 1); floats as they are."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return (samples / 2.0 ** (8 * samples.dtype.itemsize - 1)).astype(np.float32)


def encode_pcm(block: np.ndarray, sample: str) -> bytes:
    """(channel, sample) as interleaved little-endian bytes of int16, int24, int32, float32 or float64."""
    if sample.startswith("float"):
        return block.T.astype("<f4" if sample == "float32" else "<f8").tobytes()
    integers = quantise(block.T, sample_bits(sample)).astype("<i4")
    if sample == "int16":
        return integers.astype("<i2").tobytes()
    if sample == "int24":
        return np.ascontiguousarray(integers).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return integers.tobytes()


def decode_pcm(data: bytes, sample: str, num_channels: int) -> np.ndarray:
    """The float32 (channel, sample) of whole frames of `encode_pcm`, or of uint8."""
    if sample == "int24":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0]
    else:
        samples = np.frombuffer(data, np.dtype(sample).newbyteorder("<"))
    return to_float32(samples).reshape(-1, num_channels).T


def sample_bits(sample: str) -> int:
    """Bits of one sample, which its name ends with."""
    return int(sample.lstrip("uintfloa"))


def largest_integer(bits: int) -> float:
    """The highest value, as a fraction of full scale, that an integer of `bits` bits holds."""
    return 1.0 - 2.0 ** (1 - bits)
