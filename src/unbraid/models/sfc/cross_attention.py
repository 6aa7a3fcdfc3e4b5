"""SFC-CA: K queries attend to F bins, and F queries attend to K bands.

    encoder   3 x 3 convolution -> norm = E;   queries attend to E;   3 x 3 convolution -> norm
    decoder   3 x 3 convolution;   queries attend to the bands;   3 x 3 convolution

    block     y = attention(norm queries, norm tokens) with a positional bias and no residual;  y <- y + SwiGLU(norm y)

The positional bias starts as `BandTable.locality`: each query looks at its own band first and ever less beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.attention import CrossAttention
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.feedforward import SwiGLU
from unbraid.layers.norms import RMSNorm
from unbraid.models.sfc.compression import (
    TABLE_ROWS,
    CompressionSizes,
    Encoder,
    Queries,
    QueryingDecoder,
    band_queries,
    centres_hz,
    table_places,
)
from unbraid.options import PositiveInt, check_options

PositionalBias = Literal["none", "fixed", "slope", "sampled", "matrix"]

_ROWS, _OCTAVES = 16, 4.0
"""ours: rows over the pitch of a band in the table of a sampled bias, and how far it reaches either way."""
_COLUMNS = 33


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Settings of SFC-CA; the defaults are the small size's."""

    kind: Literal["sfc-ca"] = "sfc-ca"

    inner_dim: PositiveInt = 64
    """Features of a bin."""

    num_heads: PositiveInt = 4

    queries: Queries = "learnable"
    """Parameters that all frames share, made from each frame, or, ours: read from a table over frequency, of each
    half's own or one for both."""

    positional_bias: PositionalBias = "matrix"
    """Added to the scores: none; the initial decay; that times a learnable slope per head; ours: the decay and a
    learnable table over a band's pitch and a bin's distance in octaves; or all of it learnable."""

    mask_outside_bands: bool = False
    """Lets a query see its own band alone."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.inner_dim % self.num_heads:
            raise ConfigError(f"inner_dim {self.inner_dim} is not a multiple of num_heads {self.num_heads}")


class CrossAttentionEncoder(Encoder):
    """F bins to K bands."""

    def __init__(self, sizes: CompressionSizes, config: CrossAttentionConfig) -> None:
        super().__init__(sizes)
        inner = config.inner_dim
        self.spread = PlaneConv(sizes.parts_in, inner)
        self.spread_norm = RMSNorm(inner)
        self.queries = band_queries(config.queries, sizes, inner)
        self.bias = LocalityBias(sizes, config)
        self.block = CrossAttentionBlock(config)
        self.gather = PlaneConv(inner, sizes.dim)
        self.gather_norm = RMSNorm(sizes.dim)
        self.keeps_memory = config.queries == "adaptive"

    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame band dim"], Float[Tensor, "batch frame freq inner"] | None]:
        bins = self.spread(spectrum)
        bands = self.each_frame(self._compress, bins)
        memory = self.spread_norm(bins) if self.keeps_memory else None
        return self.gather_norm(self.gather(bands)), memory

    def _compress(self, bins: Float[Tensor, "row freq inner"]) -> Float[Tensor, "row band inner"]:
        tokens = self.spread_norm(bins)
        return self.block(self.queries(tokens), tokens, self.bias())

    def tokens(self, spectrum: Float[Tensor, "batch frame freq part"]) -> Float[Tensor, "batch frame freq inner"]:
        """The bins as attention sees them."""
        return self.spread_norm(self.spread(spectrum))

    def attention(self, tokens: Float[Tensor, "row freq inner"]) -> Float[Tensor, "row head band freq"]:
        """How much each band takes of each bin, in frames of `tokens`; for looking at."""
        return self.block.weights(self.queries(tokens), tokens, self.bias())


class CrossAttentionDecoder(QueryingDecoder):
    """K bands to F bins."""

    def __init__(self, sizes: CompressionSizes, config: CrossAttentionConfig) -> None:
        inner = config.inner_dim
        super().__init__(sizes, config.queries, inner, memory_dim=inner, gathered_dim=inner)
        self.bias = LocalityBias(sizes, config)
        self.block = CrossAttentionBlock(config)

    def read(
        self, queries: Float[Tensor, "#row freq inner"], bands: Float[Tensor, "row band inner"]
    ) -> Float[Tensor, "row freq inner"]:
        return self.block(queries, bands, self.bias(transpose=True))


class CrossAttentionBlock(nn.Module):
    """Attention that replaces the queries, then a feed-forward layer that is added."""

    def __init__(self, config: CrossAttentionConfig) -> None:
        super().__init__()
        dim = config.inner_dim
        self.query_norm = RMSNorm(dim)
        self.token_norm = RMSNorm(dim)
        self.attention = CrossAttention(dim, config.num_heads)
        self.feedforward_norm = RMSNorm(dim)
        self.feedforward = SwiGLU(dim, 2 * dim)

    def forward(
        self,
        queries: Float[Tensor, "#row query dim"],
        tokens: Float[Tensor, "row token dim"],
        bias: Float[Tensor, "#head query token"] | None,
    ) -> Float[Tensor, "row query dim"]:
        attended = self.attention(self.query_norm(queries), self.token_norm(tokens), bias)
        return attended + self.feedforward(self.feedforward_norm(attended))

    def weights(
        self,
        queries: Float[Tensor, "#row query dim"],
        tokens: Float[Tensor, "row token dim"],
        bias: Float[Tensor, "#head query token"] | None,
    ) -> Float[Tensor, "row head query token"]:
        """The attention alone, to look at."""
        return self.attention.weights(self.query_norm(queries), self.token_norm(tokens), bias)


class LocalityBias(nn.Module):
    """What is added to the scores, (head, band, freq), or nothing."""

    locality: Tensor
    outside: Tensor
    places: Tensor

    def __init__(self, sizes: CompressionSizes, config: CrossAttentionConfig) -> None:
        super().__init__()
        bands = sizes.bands
        self.kind, self.mask_outside = config.positional_bias, config.mask_outside_bands
        self.register_buffer("locality", bands.locality(), persistent=False)
        self.register_buffer("outside", ~bands.membership(), persistent=False)
        if self.kind == "slope":
            self.slope = nn.Parameter(torch.ones(config.num_heads))
        if self.kind == "sampled":
            self.table = nn.Parameter(torch.zeros(config.num_heads, _ROWS, _COLUMNS))
            self.register_buffer("places", _table_places(sizes), persistent=False)
        if self.kind == "matrix":
            self.matrix = nn.Parameter(bands.locality().repeat(config.num_heads, 1, 1))

    def forward(self, transpose: bool = False) -> Float[Tensor, "#head query token"] | None:
        match self.kind:
            case "none":
                bias = self.locality.new_zeros(1, *self.locality.shape) if self.mask_outside else None
            case "fixed":
                bias = self.locality.unsqueeze(0)
            case "slope":
                bias = self.slope[:, None, None] * self.locality
            case "sampled":
                learned = F.grid_sample(self.table.unsqueeze(0), self.places, align_corners=True)[0]
                bias = self.locality + learned
            case "matrix":
                bias = self.matrix
        if bias is not None and self.mask_outside:
            bias = bias.masked_fill(self.outside, -torch.inf)
        return bias.transpose(-2, -1) if bias is not None and transpose else bias


def _table_places(sizes: CompressionSizes) -> Float[Tensor, "1 band freq 2"]:
    """Where each pair of band and bin lies in a table over distance in octaves and pitch, from -1 to 1 both ways."""
    centres = centres_hz(sizes)
    bins = torch.arange(sizes.bands.num_freqs, dtype=torch.float64).clamp_min(0.5) * sizes.bin_hz
    octaves = ((bins.log2() - centres.clamp_min(sizes.bin_hz / 2).log2()[:, None]) / _OCTAVES).clamp(-1, 1)
    pitch = (2 * table_places(centres) / (TABLE_ROWS - 1) - 1)[:, None].expand_as(octaves)
    return torch.stack([octaves.float(), pitch], dim=-1).unsqueeze(0)
