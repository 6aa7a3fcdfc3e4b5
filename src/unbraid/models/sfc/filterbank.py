"""FB, a fixed filterbank: the cheapest compression. The model sees powers in narrow bands and masks their bins alike.

    encoder   power of every channel in narrow bands, and what the channels share -> linear, a few narrow bands together
    decoder   norm -> linear -> per narrow band and channel the share of every source (softmax) -> the band's bins

ours. The masks are real and the estimates add up to the mixture. As everything happens in bands, a model can learn from
the powers of the sources in them, without any audio, as `benchmarks/training/band_training` does for `music`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.norms import RMSNorm
from unbraid.models.sfc.compression import CompressionSizes, Decoder, Encoder
from unbraid.options import PositiveInt, check_options

_LEAST_POWER = 1e-8
"""Relative to the mean of all bins."""
_LOG_SCALE = 0.2
"""Brings the logarithms of powers to about one."""


@dataclass(frozen=True, kw_only=True)
class FilterbankConfig:
    """Settings of the fixed filterbank."""

    kind: Literal["filterbank"] = "filterbank"

    narrow_bands: PositiveInt = 96
    """Bands in which power is measured and masked; a multiple of the model's `num_bands`, of which each takes as many.
    Each is wider than the one below by the same factor."""

    lowest_bins: PositiveInt = 2
    """Bins in the lowest narrow band."""

    def __post_init__(self) -> None:
        check_options(self)


class FilterbankEncoder(Encoder):
    """F bins to narrow bands, and these to K bands of features."""

    averages: Tensor

    def __init__(self, sizes: CompressionSizes, config: FilterbankConfig) -> None:
        super().__init__(sizes)
        edges = narrow_band_edges(sizes.bands.num_freqs, config.narrow_bands, config.lowest_bins)
        self.num_channels = sizes.parts_in // 2
        self.num_bands, per_band = sizes.bands.num_bands, _per_band(sizes, config)
        self.register_buffer("averages", average_in_bands(edges), persistent=False)
        self.embedding = GroupedLinear(self.num_bands, per_band * num_descriptions(self.num_channels), sizes.dim)

    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame band dim"], None]:
        parts = rearrange(spectrum.float(), "batch frame freq (part channel) -> part channel batch frame freq", part=2)
        powers = parts.square().sum(0) @ self.averages
        shared = (parts[:, 0] * parts[:, -1]).sum(0) @ self.averages
        return self.embed(powers, shared), None

    def embed(
        self,
        powers: Float[Tensor, "channel batch frame narrow"],
        shared: Float[Tensor, "batch frame narrow"],
    ) -> Float[Tensor, "batch frame band dim"]:
        """Features of the powers in narrow bands and of the real part of what the outer channels share."""
        total = powers.sum(0) + _LEAST_POWER
        descriptions = [_LOG_SCALE * total.log()]
        if self.num_channels > 1:
            descriptions += [(powers[0] - powers[-1]) / total, 2 * shared / total]
        described = torch.stack(descriptions, dim=-1)
        return self.embedding(
            rearrange(
                described, "batch frame (band narrow) about -> batch frame band (narrow about)", band=self.num_bands
            )
        )


class FilterbankDecoder(Decoder):
    """K bands of features to masks of narrow bands, and these to F bins."""

    band_of_bin: Tensor
    parts = 1

    def __init__(self, sizes: CompressionSizes, config: FilterbankConfig) -> None:
        super().__init__(sizes)
        edges = narrow_band_edges(sizes.bands.num_freqs, config.narrow_bands, config.lowest_bins)
        self.per_band, self.parts_out = _per_band(sizes, config), sizes.parts_out // 2
        self.num_channels = sizes.parts_in // 2
        self.norm = RMSNorm(sizes.dim)
        self.gather = GroupedLinear(sizes.bands.num_bands, sizes.dim, self.per_band * self.parts_out)
        self.register_buffer("band_of_bin", bands_of_bins(edges), persistent=False)

    def forward(
        self, features: Float[Tensor, "batch frame band dim"], memory: object
    ) -> Float[Tensor, "batch frame freq part_out"]:
        # In memory, frequencies lie last, as in the spectrum that is weighed.
        masks = self.masks(features).permute(0, 3, 4, 1, 2)[..., self.band_of_bin]
        return rearrange(masks, "batch source channel frame freq -> batch frame freq (source channel)")

    def masks(
        self, features: Float[Tensor, "batch frame band dim"]
    ) -> Float[Tensor, "batch frame narrow source channel"]:
        """The share of every source in each narrow band of each channel."""
        shares = self.gather(self.norm(features)).float()
        shares = rearrange(
            shares,
            "batch frame band (narrow source channel) -> batch frame (band narrow) source channel",
            narrow=self.per_band,
            channel=self.num_channels,
        )
        return shares.softmax(dim=-2)


class GroupedLinear(nn.Module):
    """A linear layer for each band, all at once."""

    def __init__(self, num_bands: int, dim_in: int, dim_out: int) -> None:
        super().__init__()
        bound = dim_in**-0.5
        self.weight = nn.Parameter(torch.empty(num_bands, dim_in, dim_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_bands, dim_out))

    def forward(self, features: Float[Tensor, "batch frame band dim_in"]) -> Float[Tensor, "batch frame band dim_out"]:
        rows = rearrange(features, "batch frame band dim -> band (batch frame) dim")
        out = torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight)
        return rearrange(out, "band (batch frame) dim -> batch frame band dim", batch=features.shape[0])


def num_descriptions(num_channels: int) -> int:
    """How many numbers describe a narrow band: its power, and for stereo where it lies and how alike the sides are."""
    return 1 if num_channels == 1 else 3


def narrow_band_edges(num_freqs: int, num_bands: int, lowest_bins: int = 1) -> tuple[int, ...]:
    """First bins of the bands and, at the end, `num_freqs`: widths grow by one factor from the lowest band on.

    With `lowest_bins`, so many bands of a scale that begins with one bin make one.
    """
    steps = num_bands * lowest_bins
    if steps > num_freqs:
        raise ConfigError(
            f"{num_bands} narrow bands from {lowest_bins} bins up do not fit into {num_freqs}: choose fewer"
        )
    low, high = 1.0, 2.0
    for _ in range(60):
        factor = (low + high) / 2
        reach = sum(factor**step for step in range(steps))
        low, high = (factor, high) if reach < num_freqs else (low, factor)
    edges = [round(sum(low**below for below in range(step))) for step in range(steps)]
    return (*edges[::lowest_bins], num_freqs)


def bands_of_bins(edges: tuple[int, ...]) -> Tensor:
    """(freq,): which narrow band each bin lies in."""
    return torch.tensor([band for band, (start, end) in enumerate(pairwise(edges)) for _ in range(start, end)])


def average_in_bands(edges: tuple[int, ...]) -> Tensor:
    """(freq, narrow): takes bins to the mean of each narrow band."""
    band = bands_of_bins(edges)
    members = torch.zeros(len(band), len(edges) - 1)
    members[torch.arange(len(band)), band] = 1.0
    return members / members.sum(0)


def _per_band(sizes: CompressionSizes, config: FilterbankConfig) -> int:
    """Narrow bands of one band."""
    if config.narrow_bands % sizes.bands.num_bands:
        raise ConfigError(
            f"{config.narrow_bands} narrow bands cannot be shared out among {sizes.bands.num_bands}: choose a multiple"
        )
    return config.narrow_bands // sizes.bands.num_bands
