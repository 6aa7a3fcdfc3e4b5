"""Frames that overlap, put together again."""

from __future__ import annotations

from torch.nn import functional as F

from unbraid.axes import Float, Tensor


def add_frames(frames: Float[Tensor, "batch frame sample"], hop: int) -> Float[Tensor, "batch total"]:
    """Adds each frame `hop` samples after the one before.

    A frame is cut into blocks of one hop; the i-th blocks of all frames lie side by side and are added at once, which
    is many times as fast as `fold` or a transposed convolution on a CPU.
    """
    num_frames, num_blocks = frames.shape[1], -(-frames.shape[2] // hop)
    frames = F.pad(frames, (0, num_blocks * hop - frames.shape[2]))
    blocks = frames.unflatten(2, (num_blocks, hop))
    summed = F.pad(blocks[:, :, 0], (0, 0, 0, num_blocks - 1))
    for block in range(1, num_blocks):
        summed = summed + F.pad(blocks[:, :, block], (0, 0, block, num_blocks - 1 - block))
    assert summed.shape[1] == num_frames + num_blocks - 1
    return summed.flatten(1)
