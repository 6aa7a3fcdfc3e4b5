"""No compression: the separator sees every bin, as the original TF-Locoformer for speech does.

encoder   3 x 3 convolution -> norm over the whole plane;   decoder   3 x 3 convolution
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.norms import GlobalLayerNorm
from unbraid.models.sfc.compression import CompressionSizes, Decoder, Encoder
from unbraid.options import check_options


@dataclass(frozen=True, kw_only=True)
class UncompressedConfig:
    """No settings: as many bands as bins."""

    kind: Literal["uncompressed"] = "uncompressed"

    def __post_init__(self) -> None:
        check_options(self)


class UncompressedEncoder(Encoder):
    """F bins stay F bins."""

    def __init__(self, sizes: CompressionSizes, config: UncompressedConfig) -> None:
        super().__init__(sizes)
        self.spread = PlaneConv(sizes.parts_in, sizes.dim)
        self.norm = GlobalLayerNorm(sizes.dim, eps=1e-5)

    def forward(
        self, spectrum: Float[Tensor, "batch frame freq part"]
    ) -> tuple[Float[Tensor, "batch frame freq dim"], None]:
        features = self.spread(spectrum)
        return self.norm(features.flatten(1, 2)).unflatten(1, features.shape[1:3]), None


class UncompressedDecoder(Decoder):
    """F bins stay F bins."""

    def __init__(self, sizes: CompressionSizes, config: UncompressedConfig) -> None:
        super().__init__(sizes)
        self.gather = PlaneConv(sizes.dim, sizes.parts_out, transposed=True)

    def forward(
        self, features: Float[Tensor, "batch frame freq dim"], memory: object
    ) -> Float[Tensor, "batch frame freq part_out"]:
        return self.gather(features)
