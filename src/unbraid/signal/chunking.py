"""Cuts a long signal into overlapping chunks and puts processed chunks together again without a seam.

Two neighbours share `overlap` samples. The outer third of it on either side is context: it goes into the model and its
estimate is thrown away, because models are wrong near their edges. Over the middle third one chunk fades into the next:

    chunk k      ----------------------\\\\\\\\\\\\xxxxxxxxxxxx
    chunk k+1                xxxxxxxxxxxx////////////----------------------
                             | context  |    fade    |  context |

The two ends of the signal get a short mirrored context, so that its first and last samples are not edges either.

Beyond half a chunk more than two share a sample. Context then stays a sixth of a chunk at either side, fades take what
is between, and a sample is the mean of all chunks that have it, weighted by their fades.

Papers do it more simply, and to repeat their figures so can we: with `join="average"` there is no context and no fade,
what chunks share is their plain mean, and the last chunk is filled up with silence. With `join="centre"` the shared
part is halved, each chunk gives the half that is nearer to its middle, and nothing is mixed: with an overlap of half a
chunk, each gives its central half.

Both halves stream: memory does not depend on the length of the signal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.options import check_option

Join = Literal["fade", "average", "centre"]

MOST_OVERLAP = 0.95
"""ours: twenty times the work of no overlap."""


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Lengths, in samples, of everything that cutting and joining need."""

    chunk: int
    """Samples per chunk; the last one may be shorter, but not shorter than the overlap plus one."""

    overlap: int
    """Samples that neighbours share."""

    edge: int
    """Mirrored samples before the first and after the last sample of the signal."""

    join: Join = "fade"

    @property
    def is_whole(self) -> bool:
        """Whether signals of any length are one chunk."""
        return self.chunk == sys.maxsize

    @property
    def hop(self) -> int:
        return self.chunk - self.overlap

    @property
    def context(self) -> int:
        """Samples at each inner side of a chunk whose estimate is discarded."""
        if self.join == "fade":
            return min(self.overlap, self.chunk // 2) // 3
        return 0 if self.join == "average" else self.overlap // 2

    @property
    def fade(self) -> int:
        """Samples over which a chunk comes in, and as many over which it goes."""
        return min(self.overlap, self.chunk // 2 + self.context) - 2 * self.context

    def num_chunks(self, num_samples: int) -> int:
        """How many chunks a signal makes."""
        length = num_samples + 2 * self.edge
        return 0 if num_samples == 0 else 1 if length <= self.chunk else 1 + -(-(length - self.chunk) // self.hop)


def plan_chunks(chunk_samples: int, overlap: float, edge_samples: int, join: Join = "fade") -> ChunkPlan:
    """Plans chunks that share `overlap` (a fraction of a chunk, 0 to 0.95) with their neighbours."""
    check_option("join", join, Join)
    if not 0 <= overlap <= MOST_OVERLAP:
        raise ConfigError(f"overlap is a fraction of a chunk from 0 to {MOST_OVERLAP}, not {overlap}")
    if chunk_samples < 8:
        raise ConfigError(f"chunks of {chunk_samples} samples are too short: choose a longer segment")
    shared = int(chunk_samples * overlap)
    if join == "centre":
        shared -= shared % 2
    plan = ChunkPlan(chunk=chunk_samples, overlap=shared, edge=0, join=join)
    return replace(plan, edge=min(plan.context, edge_samples) if join == "fade" else 0)


def plan_whole() -> ChunkPlan:
    """Plans one chunk, however long the signal is, with no more context than the signal has."""
    return ChunkPlan(chunk=sys.maxsize, overlap=0, edge=0)


@dataclass(frozen=True)
class Chunk:
    """A piece of the signal as the model gets it."""

    index: int
    start: int
    """Where its first sample lies in the signal; negative in the mirrored context before it."""
    samples: Float[Tensor, "channel sample"]
    is_last: bool


class ChunkCutter:
    """Takes a signal in blocks of any size and gives it out in chunks."""

    def __init__(self, plan: ChunkPlan) -> None:
        self.plan = plan
        self._held: Tensor | None = None
        self._blocks: list[Tensor] = []
        self._pending, self._index, self._started = 0, 0, False

    def push(self, block: Float[Tensor, "channel sample"]) -> list[Chunk]:
        """The chunks that are complete with this block and are certainly not the last one."""
        if block.shape[-1]:
            self._blocks.append(block)
            self._pending += block.shape[-1]
        held = 0 if self._held is None else self._held.shape[-1]
        # More than a chunk, so that the last chunk never comes out here and always has new samples; the edge is what
        # `finish` still needs to mirror from.
        if held + self._pending <= self.plan.chunk + 2 * self.plan.edge:
            return []
        self._gather()
        assert self._held is not None
        chunks = []
        while self._held.shape[-1] > self.plan.chunk + self.plan.edge:
            chunks.append(self._chunk(self._held[..., : self.plan.chunk].clone(), is_last=False))
            self._held = self._held[..., self.plan.hop :]
        self._held = self._held.clone()
        return chunks

    def finish(self) -> list[Chunk]:
        """The remaining chunks; the very last one says so."""
        self._gather()
        if self._held is None or not self._started:
            return []
        # Of a cut signal there is enough held to mirror from; a signal shorter than its edge is mirrored as far as it
        # goes and silent beyond.
        held = mirror(self._held, 0, self.plan.edge)
        chunks = []
        while held.shape[-1] > self.plan.chunk:
            chunks.append(self._chunk(held[..., : self.plan.chunk].clone(), is_last=False))
            held = held[..., self.plan.hop :]
        if self.plan.join != "fade":
            held = F.pad(held, (0, self.plan.chunk - held.shape[-1]))
        chunks.append(self._chunk(held, is_last=True))
        self._held = None
        return chunks

    def _gather(self) -> None:
        if not self._blocks:
            return
        new = torch.cat(self._blocks, dim=-1)
        self._blocks, self._pending = [], 0
        if self._started:
            assert self._held is not None
            self._held = torch.cat([self._held, new], dim=-1)
        else:
            self._held, self._started = mirror(new, self.plan.edge, 0), True

    def _chunk(self, samples: Tensor, is_last: bool) -> Chunk:
        start = self._index * self.plan.hop - self.plan.edge
        self._index += 1
        return Chunk(self._index - 1, start, samples, is_last)


class OverlapAdder:
    """Takes processed chunks in order and gives out the finished signal in blocks."""

    def __init__(self, plan: ChunkPlan) -> None:
        self.plan = plan
        self._sum: Tensor | None = None
        """Of the chunks so far, weighted, from where the next one comes in to where the last one has gone."""
        self._weights: Tensor | None = None
        """The weights that are in that sum."""

    def push(self, samples: Float[Tensor, "*axes sample"], is_last: bool) -> Float[Tensor, "*axes finished"]:
        """What is finished with this chunk: nothing after it changes these samples any more.

        Estimates of the silence that fills the last chunk up are among them; the caller knows the signal's length.
        """
        plan = self.plan
        length = samples.shape[-1]
        if is_last and self._sum is None:  # the only one
            return samples[..., plan.edge : length - plan.edge]
        weights = self._window(samples, is_last)
        weighted = samples * weights
        begin, end = plan.context, length - plan.edge if is_last else plan.hop + plan.context
        if self._sum is None or self._weights is None:
            begin = plan.edge
        else:
            shared = slice(begin, begin + self._weights.shape[-1])
            weighted[..., shared] += self._sum
            weights[shared] += self._weights
        finished = weighted[..., begin:end] / weights[begin:end]
        self._sum, self._weights = weighted[..., end : length - plan.context], weights[end : length - plan.context]
        return finished

    def _window(self, samples: Tensor, is_last: bool) -> Float[Tensor, " sample"]:
        """The weight of a chunk, which at the ends of the signal neither comes in nor goes."""
        context, fade = self.plan.context, 0 if self.plan.join == "average" else self.plan.fade
        window, rise = samples.new_ones(samples.shape[-1]), fade_in(fade, samples)
        if self._sum is not None:
            window[:context] = 0
            window[context : context + fade] = rise
        if not is_last:
            end = len(window) - context
            window[end:] = 0
            window[end - fade : end] = rise.flip(0)
        return window


def overlap_add(chunks: list[Chunk], plan: ChunkPlan) -> Float[Tensor, "channel sample"]:
    """Joins all chunks of a signal at once."""
    adder = OverlapAdder(plan)
    return torch.cat([adder.push(chunk.samples, chunk.is_last) for chunk in chunks], dim=-1)


def cut(signal: Float[Tensor, "channel sample"], plan: ChunkPlan) -> list[Chunk]:
    """Cuts a whole signal at once."""
    cutter = ChunkCutter(plan)
    return cutter.push(signal) + cutter.finish()


def mirror(signal: Float[Tensor, "*axes sample"], before: int, after: int) -> Float[Tensor, "*axes padded"]:
    """Continues a signal by its mirror image at both ends, and by silence where it is too short for that."""
    reach = signal.shape[-1] - 1
    head = signal[..., 1 : 1 + min(before, reach)].flip(-1)
    tail = signal[..., max(reach - after, 0) : reach].flip(-1) if after else signal[..., :0]
    return F.pad(torch.cat([head, signal, tail], dim=-1), (before - head.shape[-1], after - tail.shape[-1]))


def fade_in(num_samples: int, like: Tensor) -> Float[Tensor, " sample"]:
    """A raised-cosine rise; it and its complement 1 - rise add up to one."""
    phase = (torch.arange(num_samples, device=like.device, dtype=torch.float64) + 0.5) / max(num_samples, 1)
    return (0.5 - 0.5 * torch.cos(torch.pi * phase)).to(like.dtype)
