"""What every compressor promises: F bins to K bands and back, each frame for itself.

    encoder   (batch, frame, freq, part)  -> (batch, frame, band, dim), and a memory that its own decoder may read
    decoder   (batch, frame, band, dim)   -> (batch, frame, freq, part)

The last axis of the encoder's input holds the parts of all channels, (part channel); that of the decoder's output those
of all sources and channels, (part source channel).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.feedforward import SwiGLU
from unbraid.layers.memory import Checkpointed, in_pieces
from unbraid.layers.norms import RMSNorm
from unbraid.signal.bands import BandTable

Queries = Literal["learnable", "adaptive", "sampled", "shared"]
"""Parameters, one per band and one per bin; made from each frame; or, ours: read from a table over frequency, whose
size depends on neither bands nor bins nor rate, each half from its own ("sampled") or both from one ("shared")."""

TABLE_ROWS, TABLE_HZ = 64, (20.0, 24_000.0)
"""ours: rows of a table over pitch, and the frequencies of its ends."""

_TOKENS_AT_ONCE = 1 << 15
"""Bins that are looked at together where memory is to be saved: 32 frames of 1025 bins, which a cache holds."""


@dataclass(frozen=True)
class CompressionSizes:
    """What a compressor needs to know of the model around it."""

    bands: BandTable

    bin_hz: float
    """Distance of two bins."""

    parts_in: int
    """2 x channels."""

    parts_out: int
    """2 x sources x channels."""

    dim: int
    """Features of each band."""


class Compressor(Checkpointed):
    """Either half. Work that a frame does alone goes through `each_frame`, which bounds its memory."""

    def __init__(self, sizes: CompressionSizes) -> None:
        super().__init__()
        self.frames_at_once = max(1, _TOKENS_AT_ONCE // sizes.bands.num_freqs)

    def each_frame(self, function: Callable[..., Tensor], *planes: Float[Tensor, "batch frame _ _"]) -> Tensor:
        """Applies a function of (row, token, dim) tensors to the frames of planes, a few frames at a time.

        In training without checkpointing, and while a graph is exported, all frames are taken at once.
        """
        rows = [rearrange(plane, "batch frame token dim -> (batch frame) token dim") for plane in planes]
        training = torch.is_grad_enabled()
        if (training and not self.checkpointing) or torch.compiler.is_compiling():
            result = function(*rows)
        else:
            if training:
                pieces = zip(*(row.split(self.frames_at_once) for row in rows), strict=True)
                result = torch.cat([self.recomputed(function, *piece) for piece in pieces])
            else:
                result = in_pieces(function, *rows, size=self.frames_at_once)
        return rearrange(result, "(batch frame) token dim -> batch frame token dim", batch=planes[0].shape[0])


class Encoder(Compressor, ABC):
    """F bins to K bands."""

    @abstractmethod
    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame band dim"], Float[Tensor, "batch frame freq inner"] | None]:
        """The bands, and what the decoder of the same kind makes its queries of."""


class Decoder(Compressor, ABC):
    """K bands to F bins."""

    parts = 2
    """Of each number that comes out: a real and an imaginary one, or 1 where masks are real."""

    @abstractmethod
    def forward(
        self,
        features: Float[Tensor, "batch frame band dim"],
        memory: Float[Tensor, "batch frame freq inner"] | None,
    ) -> Float[Tensor, "batch frame freq part_out"]:
        """A mask or a spectrum for every source and channel."""


class QueryingDecoder(Decoder):
    """Decoder in which queries, one for each bin, read the bands of their frame between two convolutions.

    Queries are parameters, made from the memory of the encoder, or read from a table over frequency.
    """

    def __init__(
        self, sizes: CompressionSizes, queries: Queries, inner_dim: int, memory_dim: int, gathered_dim: int
    ) -> None:
        super().__init__(sizes)
        self.spread = PlaneConv(sizes.dim, inner_dim, transposed=True)
        self.queries = bin_queries(queries, sizes, inner_dim, memory_dim)
        self.gather = PlaneConv(gathered_dim, sizes.parts_out, transposed=True)

    def forward(
        self,
        features: Float[Tensor, "batch frame band dim"],
        memory: Float[Tensor, "batch frame freq memory_dim"] | None,
    ) -> Float[Tensor, "batch frame freq part_out"]:
        bands = self.spread(features)
        return self.gather(self.each_frame(self._expand, *((bands,) if memory is None else (bands, memory))))

    def _expand(
        self, bands: Float[Tensor, "row band inner"], memory: Float[Tensor, "row freq memory_dim"] | None = None
    ) -> Float[Tensor, "row freq gathered"]:
        return self.read(self.queries(memory), bands)

    @abstractmethod
    def read(
        self, queries: Float[Tensor, "#row freq inner"], bands: Float[Tensor, "row band inner"]
    ) -> Float[Tensor, "row freq gathered"]:
        """What each bin makes of the bands of its frame."""


class LearntQueries(nn.Module):
    """The same queries for every frame."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_queries, dim))

    def forward(self, tokens: object) -> Float[Tensor, "1 query dim"]:
        return self.weight.unsqueeze(0)


class SampledQueries(nn.Module):
    """The same queries for every frame, read from a table over pitch at given frequencies."""

    places: Tensor

    def __init__(self, frequencies_hz: Tensor, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(TABLE_ROWS, dim))
        self.register_buffer("places", table_places(frequencies_hz), persistent=False)

    def forward(self, tokens: object) -> Float[Tensor, "1 query dim"]:
        below = self.places.floor().clamp_max(TABLE_ROWS - 2).long()
        return torch.lerp(self.table[below], self.table[below + 1], (self.places - below).unsqueeze(-1)).unsqueeze(0)


def share_table(first: object, second: object) -> None:
    """From here on both sample one table."""
    assert isinstance(first, SampledQueries)
    assert isinstance(second, SampledQueries)
    second.table = first.table


def table_places(frequencies_hz: Float[Tensor, " query"]) -> Float[Tensor, " query"]:
    """Where frequencies lie in a table over pitch, from 0 to `TABLE_ROWS` - 1."""
    low, high = (math.log2(edge) for edge in TABLE_HZ)
    return ((frequencies_hz.clamp(*TABLE_HZ).log2() - low) / (high - low) * (TABLE_ROWS - 1)).float()


def centres_hz(sizes: CompressionSizes) -> Float[Tensor, " band"]:
    """The middle of every band."""
    bands = sizes.bands
    return torch.tensor(bands.centres or bands.middles, dtype=torch.float64) * sizes.bin_hz


def band_queries(queries: Queries, sizes: CompressionSizes, dim: int) -> LearntQueries | BandAverages | SampledQueries:
    """What an encoder asks the bins with."""
    match queries:
        case "learnable":
            return LearntQueries(sizes.bands.num_bands, dim)
        case "adaptive":
            return BandAverages(sizes.bands)
        case "sampled" | "shared":
            return SampledQueries(centres_hz(sizes), dim)


def bin_queries(
    queries: Queries, sizes: CompressionSizes, dim: int, memory_dim: int
) -> LearntQueries | BinQueries | SampledQueries:
    """What a decoder asks the bands with."""
    match queries:
        case "learnable":
            return LearntQueries(sizes.bands.num_freqs, dim)
        case "adaptive":
            return BinQueries(memory_dim, dim)
        case "sampled" | "shared":
            bins = torch.arange(sizes.bands.num_freqs, dtype=torch.float64)
            return SampledQueries(bins * sizes.bin_hz, dim)


class BandAverages(nn.Module):
    """Queries from the input itself: a weighted mean of the bins of each band, with one learnt weight per bin in it."""

    rows: Tensor
    columns: Tensor

    def __init__(self, bands: BandTable) -> None:
        super().__init__()
        widths = torch.tensor(bands.widths)
        rows = torch.arange(bands.num_bands).repeat_interleave(widths, output_size=sum(bands.widths))
        self.shape = (bands.num_bands, bands.num_freqs)
        self.weight = nn.Parameter(1 / widths[rows].float())
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", bands.members(), persistent=False)

    def forward(self, tokens: Float[Tensor, "row freq dim"]) -> Float[Tensor, "row band dim"]:
        weights = self.weight.new_zeros(self.shape).index_put((self.rows, self.columns), self.weight)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-8)
        return weights.to(tokens.dtype) @ tokens


class BinQueries(nn.Module):
    """Queries of a decoder made from what its encoder knew of the bins."""

    def __init__(self, memory_dim: int, dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(memory_dim)
        self.feedforward = SwiGLU(memory_dim, 2 * dim, dim)

    def forward(self, memory: Float[Tensor, "row freq memory_dim"]) -> Float[Tensor, "row freq dim"]:
        return self.feedforward(self.norm(memory))
