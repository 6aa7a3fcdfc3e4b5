"""A post-filter, as in speech enhancement: it looks at the estimates of a separator and at the mixture, bin by bin.

    mixture, estimates -> STFT -> powers in narrow bands, and how alike each two are -> linear, a few bands together
            -> separator of SFC, along bands and frames -> norm, linear -> weights of each narrow band
    refined estimate = the sum of mixture and estimates, weighted in each bin -> inverse STFT

ours, after the two-stage systems of the field. A separator in the time domain leaks, and now and then gives a piece of
one speaker to the other; both show in powers, which are cheap to learn from. Weights begin at one for the estimate
itself and nothing for the rest, so that a network that has learned nothing leaves it as it is. They are real: what is
added up has its own phases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import torch
from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.norms import RMSNorm, at_least_float32
from unbraid.models.sfc.dual_path import DualPath, DualPathConfig
from unbraid.models.sfc.filterbank import GroupedLinear, average_in_bands, bands_of_bins, narrow_band_edges
from unbraid.models.sfc.locoformer import LocoformerConfig, TFLocoformer
from unbraid.options import PositiveFloat, PositiveInt, check_options
from unbraid.signal.stft import Stft, in_planes

_LEAST_POWER, _LEAST_BAND_POWER = 1e-15, 1e-6
_LOG_SCALE = 0.2
"""Brings the logarithms of powers to about one."""
_FIRST_WEIGHTS = 0.05
"""How far from the estimates themselves a new network's begin to be."""


@dataclass(frozen=True, kw_only=True)
class PostFilterConfig:
    """Settings of the post-filter; the defaults are those of the bundled models."""

    domain: Literal["bins"] = "bins"

    window_ms: PositiveFloat = 64.0
    """Length of the STFT's window, which advances by a quarter of it."""

    narrow_bands: PositiveInt = 256
    """Bands in which powers are looked at and bins weighted alike; each is wider than the one below by one factor."""

    num_bands: PositiveInt = 16
    """Bands that the network sees; each takes as many narrow ones."""

    network: LocoformerConfig | DualPathConfig = field(
        default_factory=lambda: LocoformerConfig(
            dim=64,
            num_blocks=2,
            sequence=SelfAttentionConfig(num_heads=4, inner_dim=64, dropout=0.0),
            feedforward_dims=(64, 64),
            kernel_size=4,
            dropout=0.0,
        )
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.narrow_bands % self.num_bands:
            raise ConfigError(
                f"{self.narrow_bands} narrow bands cannot be shared out among {self.num_bands}: choose a multiple"
            )

    def fft_samples(self, sample_rate: int) -> int:
        """The nearest multiple of 4, and at least 16."""
        return 4 * max(4, round(self.window_ms * sample_rate / 4000))


class PostFilter(nn.Module):
    """Weighs mixture and estimates against each other: both in, better estimates out, of the same shape and level."""

    averages: Tensor
    band_of_bin: Tensor

    def __init__(self, config: PostFilterConfig, sample_rate: int, num_sources: int) -> None:
        super().__init__()
        self.config, self.num_sources, num_signals = config, num_sources, num_sources + 1
        n_fft, dim = config.fft_samples(sample_rate), config.network.dim
        self.stft = Stft(n_fft, n_fft // 4, padding="constant")
        edges = narrow_band_edges(n_fft // 2 + 1, config.narrow_bands)
        self.register_buffer("averages", average_in_bands(edges), persistent=False)
        self.register_buffer("band_of_bin", bands_of_bins(edges), persistent=False)
        self.pairs = tuple(combinations(range(num_signals), 2))
        per_band = config.narrow_bands // config.num_bands
        self.embedding = GroupedLinear(config.num_bands, per_band * (num_signals + len(self.pairs)), dim)
        separator = TFLocoformer if isinstance(config.network, LocoformerConfig) else DualPath
        self.network = separator(config.network)  # type: ignore[arg-type]
        self.norm = RMSNorm(dim)
        self.gather = GroupedLinear(config.num_bands, dim, per_band * num_sources * num_signals)
        with torch.no_grad():
            self.gather.weight.mul_(_FIRST_WEIGHTS)

    def forward(
        self,
        mixture: Float[Tensor, "batch channel sample"],
        estimates: Float[Tensor, "batch source channel sample"],
    ) -> Float[Tensor, "batch source channel sample"]:
        signals = torch.cat([mixture.unsqueeze(1), estimates], dim=1)
        spectra = in_planes(self.stft(at_least_float32(signals).flatten(0, 1)))
        spectra = rearrange(
            spectra,
            "(batch signal) channel part freq frame -> batch signal channel part freq frame",
            batch=mixture.shape[0],
        )
        # In memory, frequencies lie last, as in the spectra that are weighed.
        weights = self.weights(self.describe(spectra)).transpose(-1, -2)[..., self.band_of_bin].transpose(-1, -2)
        refined, parts = torch.zeros((), device=spectra.device), spectra.unsqueeze(1).unbind(2)
        for weight, part in zip(weights[:, :, :, None, None].unbind(2), parts, strict=True):
            refined = torch.addcmul(refined, weight, part)
        return self.stft.inverse(refined, mixture.shape[-1]).to(estimates.dtype)

    def describe(
        self, spectra: Float[Tensor, "batch signal channel part freq frame"]
    ) -> Float[Tensor, "batch frame band described"]:
        """Of each narrow band all signals' powers, relative to the mixture's mean, and the correlation of each two."""
        bins = rearrange(spectra, "batch signal channel part freq frame -> batch signal frame freq (part channel)")
        scale = bins[:, 0].square().sum(-1).mean((1, 2)).clamp_min(_LEAST_POWER).rsqrt()
        bins = bins * scale[:, None, None, None, None]
        powers = bins.square().sum(-1) @ self.averages
        described = [_LOG_SCALE * (powers + _LEAST_BAND_POWER).log()]
        shared = torch.stack([(bins[:, first] * bins[:, second]).sum(-1) for first, second in self.pairs], dim=1)
        firsts, seconds = zip(*self.pairs, strict=True)
        both = powers[:, firsts] * powers[:, seconds]
        described.append((shared @ self.averages) * (both + _LEAST_BAND_POWER**2).rsqrt())
        return rearrange(
            torch.cat(described, dim=1),
            "batch about frame (band narrow) -> batch frame band (narrow about)",
            band=self.config.num_bands,
        )

    def weights(
        self, described: Float[Tensor, "batch frame band described"]
    ) -> Float[Tensor, "batch source signal narrow frame"]:
        """How much of the mixture and of each estimate is in each refined one."""
        features = self.norm(self.network(self.embedding(described)))
        changes = rearrange(
            self.gather(features).float(),
            "batch frame band (narrow source signal) -> batch source signal (band narrow) frame",
            source=self.num_sources,
            signal=self.num_sources + 1,
        )
        unchanged = torch.eye(self.num_sources + 1, device=changes.device)[1:]
        return changes + unchanged[:, :, None, None]
