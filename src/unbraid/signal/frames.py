"""Frames that overlap, put together again."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from unbraid.axes import Float, Tensor


def add_frames(frames: Float[Tensor, "batch frame sample"], hop: int) -> Float[Tensor, "batch total"]:
    """Adds each frame `hop` samples after the one before.

    A frame is cut into blocks of one hop; the i-th blocks of all frames lie side by side and are added at once, which
    is many times as fast as `fold` or a transposed convolution on a CPU.
    """
    num_frames, num_blocks = frames.shape[1], -(-frames.shape[2] // hop)
    if missing := num_blocks * hop - frames.shape[2]:
        frames = F.pad(frames, (0, missing))
    blocks = frames.unflatten(2, (num_blocks, hop))
    if torch.compiler.is_exporting():
        # Nothing is written in place, which programs for other runtimes cannot do.
        shifted = (F.pad(blocks[:, :, block], (0, 0, block, num_blocks - 1 - block)) for block in range(num_blocks))
        return sum(shifted, start=frames.new_zeros(())).flatten(1)
    summed = frames.new_zeros(frames.shape[0], num_frames + num_blocks - 1, hop)
    for block in range(num_blocks):
        summed[:, block : block + num_frames] += blocks[:, :, block]
    return summed.flatten(1)
