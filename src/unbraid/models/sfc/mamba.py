"""SFC-Mamba: queries stand among the bins of a frame, and Mamba reads both in one sequence, from either end.

    encoder   3 x 3 convolution -> norm = E;   E and K queries in one sequence -> Mamba forward | Mamba backward;
              what stands at the queries -> 3 x 3 convolution -> norm
    decoder   3 x 3 convolution;   the K bands, at the same places, and F queries -> Mamba forward | backward;
              what stands at the bins -> 3 x 3 convolution

A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023. No residual around Mamba.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.mamba import Mamba, MambaConfig
from unbraid.layers.norms import RMSNorm
from unbraid.models.sfc.compression import CompressionSizes, Encoder, Queries, QueryingDecoder, band_queries
from unbraid.options import PositiveInt, check_options
from unbraid.signal.bands import BandTable

Placement = Literal["band-middle", "band-ends", "spread"]


@dataclass(frozen=True, kw_only=True)
class MambaCompressionConfig:
    """Settings of SFC-Mamba; the defaults are the small size's."""

    kind: Literal["sfc-mamba"] = "sfc-mamba"

    inner_dim: PositiveInt = 32
    """Features of a bin."""

    queries: Queries = "adaptive"
    """Made from each frame, parameters that all frames share, or, ours: read from a table over frequency, of each
    half's own or one for both."""

    placement: Placement = "band-middle"
    """Where a query stands: before the middle bin of its band; behind the last bin that a direction meets of its band;
    or, without regard to bands, at equal distances."""

    mamba: MambaConfig = field(default_factory=MambaConfig)

    def __post_init__(self) -> None:
        check_options(self)


class MambaEncoder(Encoder):
    """F bins to K bands."""

    def __init__(self, sizes: CompressionSizes, config: MambaCompressionConfig) -> None:
        super().__init__(sizes)
        inner, bands = config.inner_dim, sizes.bands
        self.spread = PlaneConv(sizes.parts_in, inner)
        self.spread_norm = RMSNorm(inner)
        self.queries = band_queries(config.queries, sizes, inner)
        self.reading = InterleavedReading(*query_slots(bands, config.placement), bands, config)
        self.gather = PlaneConv(2 * inner, sizes.dim)
        self.gather_norm = RMSNorm(sizes.dim)
        self.keeps_memory = config.queries == "adaptive"
        self.num_bands = bands.num_bands

    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame band dim"], Float[Tensor, "batch frame freq inner"] | None]:
        read = self.each_frame(self._compress, self.spread(spectrum))
        bands, bins = read[:, :, : self.num_bands], read[:, :, self.num_bands :]
        return self.gather_norm(self.gather(bands)), bins if self.keeps_memory else None

    def _compress(self, bins: Float[Tensor, "row freq inner"]) -> Float[Tensor, "row token two_inner"]:
        """What stands at the queries, and, where the decoder wants it, at the bins behind them."""
        tokens = self.spread_norm(bins)
        at_queries, at_bins = self.reading(self.queries(tokens), tokens)
        return torch.cat([at_queries, at_bins], dim=1) if self.keeps_memory else at_queries


class MambaDecoder(QueryingDecoder):
    """K bands to F bins."""

    def __init__(self, sizes: CompressionSizes, config: MambaCompressionConfig) -> None:
        inner = config.inner_dim
        super().__init__(sizes, config.queries, inner, memory_dim=2 * inner, gathered_dim=2 * inner)
        upward, downward = query_slots(sizes.bands, config.placement)
        # The other way round than in the encoder: here a band comes first and its bins follow.
        self.reading = InterleavedReading(downward, upward, sizes.bands, config)

    def read(
        self, queries: Float[Tensor, "#row freq inner"], bands: Float[Tensor, "row band inner"]
    ) -> Float[Tensor, "row freq two_inner"]:
        return self.reading(bands, queries)[1]


class InterleavedReading(nn.Module):
    """Reads bins with queries among them upwards and downwards, with layers of each direction's own."""

    def __init__(
        self, upward: tuple[int, ...], downward: tuple[int, ...], bands: BandTable, config: MambaCompressionConfig
    ) -> None:
        """`upward` and `downward` are the places of the bands in the two directions."""
        super().__init__()
        self.upward = DirectedReading(upward, bands, config)
        self.downward = DirectedReading(downward, bands, config)

    def forward(
        self, at_bands: Float[Tensor, "#row band dim"], at_bins: Float[Tensor, "#row freq dim"]
    ) -> tuple[Float[Tensor, "row band two_dim"], Float[Tensor, "row freq two_dim"]]:
        """What was read at the places of the bands and at those of the bins, both directions side by side."""
        upward, downward = self.upward(at_bands, at_bins), self.downward(at_bands, at_bins, backwards=True)
        bands, bins = zip(upward, downward, strict=True)
        return torch.cat(bands, dim=-1), torch.cat(bins, dim=-1)


class DirectedReading(nn.Module):
    """Interleave, norm, Mamba, and bins and queries in tensors of their own again."""

    order: Tensor
    back: Tensor

    def __init__(self, slots: tuple[int, ...], bands: BandTable, config: MambaCompressionConfig) -> None:
        super().__init__()
        self.num_bands = bands.num_bands
        self.norm = RMSNorm(config.inner_dim)
        self.mamba = Mamba(config.inner_dim, config.mamba)
        order = interleaving(slots, bands.num_freqs)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(
        self, at_bands: Float[Tensor, "#row band dim"], at_bins: Float[Tensor, "#row freq dim"], backwards: bool = False
    ) -> tuple[Float[Tensor, "row band dim"], Float[Tensor, "row freq dim"]]:
        rows = max(at_bands.shape[0], at_bins.shape[0])
        tokens = torch.cat([at_bands.expand(rows, -1, -1), at_bins.expand(rows, -1, -1)], dim=1)
        order, back = (self.order.flip(0), len(self.order) - 1 - self.back) if backwards else (self.order, self.back)
        read = self.mamba(self.norm(tokens.index_select(1, order))).index_select(1, back)
        return read[:, : self.num_bands], read[:, self.num_bands :]


def query_slots(bands: BandTable, placement: Placement) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The place of every query among the bins, for the upward and the downward reading of an encoder.

    A decoder wants them the other way round: there the band comes first and its bins follow.
    """
    count = range(bands.num_bands)
    match placement:
        case "band-middle":
            slots = tuple(middle + index for index, middle in enumerate(bands.middles))
            return slots, slots
        case "band-ends":
            # Each direction has then met the whole band.
            upward = tuple(end + index for index, end in enumerate(bands.ends))
            downward = tuple(start + index for index, start in enumerate(bands.starts))
            return upward, downward
        case "spread":
            length = bands.num_freqs + bands.num_bands
            slots = tuple((2 * index + 1) * length // (2 * bands.num_bands) for index in count)
            return slots, slots


def interleaving(slots: tuple[int, ...], num_freqs: int) -> Tensor:
    """For each place of the sequence, which of (queries, then bins) stands there; bins keep their order."""
    query_at, bins = {slot: query for query, slot in enumerate(slots)}, itertools.count(len(slots))
    length = len(slots) + num_freqs
    return torch.tensor([query_at[place] if place in query_at else next(bins) for place in range(length)])
