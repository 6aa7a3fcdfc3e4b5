"""BS, the baseline: every band has layers of its own and sees nothing but its own bins.

    encoder   per band: norm -> linear
    decoder   per band: norm -> linear -> tanh -> linear -> GLU; where bands overlap, their results are averaged

K. N. Watcharasupat et al., "A Generalized Bandsplit Neural Network for Cinematic Audio Source Separation", 2023.
With `norm="chunk"` it is the band split of BS-Locoformer: K. Saijo et al., "Task-Aware Unified Source Separation",
ICASSP 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.linear import Linear
from unbraid.layers.norms import GlobalLayerNorm
from unbraid.models.sfc.compression import CompressionSizes, Decoder, Encoder
from unbraid.options import PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class BandSplitConfig:
    """Settings of the band-split baseline."""

    kind: Literal["band-split"] = "band-split"

    hidden_factor: PositiveInt = 4
    """Hidden features of the decoder over those of a band; not published, found from the published totals."""

    norm: Literal["frame", "chunk"] = "frame"
    """Whether the features of a band are normalised in each frame alone, or over all frames together."""

    def __post_init__(self) -> None:
        check_options(self)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frame": nn.LayerNorm,
    "chunk": lambda dim: GlobalLayerNorm(dim, eps=1e-5),
}


class BandSplitEncoder(Encoder):
    """F bins to K bands."""

    def __init__(self, sizes: CompressionSizes, config: BandSplitConfig) -> None:
        super().__init__(sizes)
        self.ranges = tuple(zip(sizes.bands.starts, sizes.bands.ends, strict=True))
        self.bands = nn.ModuleList(
            nn.Sequential(_NORMS[config.norm](width * sizes.parts_in), Linear(width * sizes.parts_in, sizes.dim))
            for width in sizes.bands.widths
        )

    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame band dim"], None]:
        parts = [
            band(spectrum[:, :, start:end].flatten(2))
            for band, (start, end) in zip(self.bands, self.ranges, strict=True)
        ]
        return torch.stack(parts, dim=2), None


class BandSplitDecoder(Decoder):
    """K bands to F bins."""

    targets: Tensor
    shares: Tensor

    def __init__(self, sizes: CompressionSizes, config: BandSplitConfig) -> None:
        super().__init__(sizes)
        table, dim, hidden = sizes.bands, sizes.dim, config.hidden_factor * sizes.dim
        self.num_freqs, self.parts_out = table.num_freqs, sizes.parts_out
        self.bands = nn.ModuleList(
            nn.Sequential(
                _NORMS[config.norm](dim),
                Linear(dim, hidden),
                nn.Tanh(),
                Linear(hidden, 2 * width * sizes.parts_out),
                nn.GLU(),
            )
            for width in table.widths
        )
        targets = table.members()
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("shares", 1 / table.coverage()[targets].unsqueeze(-1).float(), persistent=False)

    def forward(
        self, features: Float[Tensor, "batch frame band dim"], memory: object
    ) -> Float[Tensor, "batch frame freq part_out"]:
        normed = [band[0](features[:, :, index]) for index, band in enumerate(self.layers())]
        return self.each_frame(self._expand, torch.stack(normed, dim=2))

    def layers(self) -> Iterator[nn.Sequential]:
        """What each band goes through, its norm first."""
        for band in self.bands:
            assert isinstance(band, nn.Sequential)
            yield band

    def _expand(self, normed: Float[Tensor, "row band dim"]) -> Float[Tensor, "row freq part_out"]:
        parts = [
            band[1:](normed[:, index]).unflatten(-1, (-1, self.parts_out)) for index, band in enumerate(self.layers())
        ]
        weighted = torch.cat(parts, dim=1).float() * self.shares
        return weighted.new_zeros(normed.shape[0], self.num_freqs, self.parts_out).index_add(1, self.targets, weighted)
