"""SepFormer, and the separator of SFSRNet, which is the same with other settings.

C. Subakan, M. Ravanelli, S. Cornell, M. Bronzi, J. Zhong, "Attention is All You Need in Speech Separation", ICASSP
2021, arXiv 2010.13154.
J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022.

    mixture -> encoder -> norm -> linear -> chunks -> block, block, ..., block -> head -> estimates
    block:  transformers within chunks, then transformers across chunks
    head:   PReLU -> linear -> overlap-add -> masks x encoded mixture -> decoder

SFSRNet has a head after every block, whose estimates the multi-loss asks for, short chunks, and a 3x3 convolution over
(place in the chunk x chunk) for the second linear map of each feed-forward part. The defaults are SepFormer's as
SpeechBrain publishes it (25,679,361 parameters); `sfsrnet_separator` is the other one.

What SFSRNet's paper leaves open is a choice in `SepFormerConfig`. `padding` "none" is SpeechBrain's: up to
stride_samples - 1 samples at the end come out as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.activation import PReLU
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.linear import Linear
from unbraid.layers.sequence import SequenceConfig
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.sepformer.blocks import DualPathBlock, FeedForward, Norm, build_norm, cut_chunks, join_chunks
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options
from unbraid.signal.frames import add_frames


@dataclass(frozen=True, kw_only=True)
class SepFormerConfig:
    """Settings of SepFormer; the defaults are those of SpeechBrain's recipe for WSJ0-2mix."""

    sample_rate: SampleRate = 8000
    """Rate of mixture and estimates, in Hz."""

    sources: tuple[str, ...] = ("speaker1", "speaker2")
    """Names of the sources; their number is the number of estimates."""

    exchangeable: bool = True
    """True for speakers, whose order carries no meaning; False for stems."""

    dim: PositiveInt = 256
    """Features of the blocks."""

    num_filters: PositiveInt | None = None
    """Filters of the encoder; None: as many as `dim`. ours: with a large stride it takes more of them to tell two
    speakers apart."""

    kernel_samples: PositiveInt = 16
    """Length of the encoder's filters."""

    stride_samples: PositiveInt = 8
    """By how much they advance."""

    padding: Literal["none", "right", "both"] = "none"
    """Zeros so that filters reach every sample: none, at the end as many as that takes, or also so many at both ends
    that as many filters see the first and the last sample as any other."""

    chunk_frames: PositiveInt = 250
    """Frames of a chunk; chunks overlap by half."""

    num_blocks: PositiveInt = 2

    num_layers: PositiveInt = 8
    """Transformer layers within chunks in each block, and as many across chunks."""

    sequence: SequenceConfig = field(
        default_factory=lambda: SelfAttentionConfig(num_heads=8, inner_dim=256, bias=True, dropout=0.0)
    )
    """What reads the sequences in a transformer layer."""

    feedforward: FeedForward = "linear"
    """The second map of the feed-forward part: linear (SepFormer), or a 3x3 convolution over the plane (SFSRNet)."""

    feedforward_dim: PositiveInt = 1024
    """Features between the two maps of the feed-forward part."""

    norm: Norm = "global"
    """Statistics of the first norm and of those at the end of a stack: over the whole example, or frame by frame."""

    final_norms: bool = True
    """Whether a stack ends in a LayerNorm and, before the skip, in a `norm`. Without, each skip doubles the trunk."""

    linear_after_stack: bool = False
    """Whether a linear map follows every stack."""

    heads: Literal["last", "each", "shared"] = "last"
    """A head after the last block only, one of its own for each block, or one for all blocks."""

    mask_output: Literal["plain", "linear", "gated"] = "gated"
    """What comes between overlap-add and the masks: nothing, a linear map, or tanh times sigmoid and a linear map."""

    mask_activation: Literal["after", "before"] = "after"
    """Whether masks are made positive after the overlap-add, or before it as well."""

    chunk_seconds: PositiveFloat = 10.0
    """ours: pieces for long recordings. Statistics are taken over a piece, so it should hold a few sentences."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.chunk_frames % 2:
            raise ConfigError(f"chunk_frames is an even number, not {self.chunk_frames}")
        if self.stride_samples > self.kernel_samples:
            raise ConfigError(
                f"stride_samples is at most kernel_samples ({self.kernel_samples}), not {self.stride_samples}"
            )

    @property
    def filters(self) -> int:
        return self.num_filters or self.dim


def sfsrnet_separator() -> SepFormerConfig:
    """The separator of SFSRNet for WSJ0-2mix."""
    return SepFormerConfig(
        padding="both",
        chunk_frames=50,
        num_blocks=8,
        num_layers=2,
        feedforward="plane",
        feedforward_dim=512,
        heads="each",
        mask_output="plain",
    )


class SepFormer(SeparationModel[SepFormerConfig]):
    """SepFormer and the separator of SFSRNet, for mono mixtures."""

    def __init__(self, config: SepFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=1,
            sources=config.sources,
            exchangeable=config.exchangeable,
            chunk_seconds=config.chunk_seconds,
        )
        self.encoder = Linear(config.kernel_samples, config.filters, bias=False)
        self.norm = build_norm(config.filters, config.norm)
        self.bottleneck = Linear(config.filters, config.dim, bias=False)
        self.blocks = nn.ModuleList(
            DualPathBlock(
                config.dim,
                num_layers=config.num_layers,
                sequence=config.sequence,
                feedforward=config.feedforward,
                feedforward_dim=config.feedforward_dim,
                norm=config.norm,
                final_norms=config.final_norms,
                linear_after=config.linear_after_stack,
            )
            for _ in range(config.num_blocks)
        )
        self.heads = nn.ModuleList(MaskHead(config) for _ in range(config.num_blocks if config.heads == "each" else 1))

    def forward(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch source 1 sample"]:
        return self._separate(mixture, all_heads=False)[-1]

    def intermediate_estimates(
        self, mixture: Float[Tensor, "batch 1 sample"]
    ) -> tuple[Float[Tensor, "batch source 1 sample"], ...]:
        return self._separate(mixture, all_heads=self.config.heads != "last")

    def _separate(self, mixture: Tensor, all_heads: bool) -> tuple[Tensor, ...]:
        encoded = F.relu(self.encoder(self._frames(mixture)))
        features = cut_chunks(self.bottleneck(self.norm(encoded)), self.config.chunk_frames)
        estimates = []
        for number, block in enumerate(self.blocks, start=1):
            features = block(features)
            if all_heads or number == len(self.blocks):
                head = self.heads[min(number, len(self.heads)) - 1]
                decoded = head(features, encoded)[..., self._margin :]
                # Too long by what was filled up, or too short by what no filter saw.
                missing = mixture.shape[-1] - decoded.shape[-1]
                estimates.append(F.pad(decoded, (0, missing)).unsqueeze(2))
        return tuple(estimates)

    @property
    def _margin(self) -> int:
        """Zeros before the first sample."""
        return self.config.kernel_samples - self.config.stride_samples if self.config.padding == "both" else 0

    def _frames(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch frame tap"]:
        """What each of the encoder's filters is laid upon."""
        kernel, stride = self.config.kernel_samples, self.config.stride_samples
        length = mixture.shape[-1] + 2 * self._margin
        rest = max(kernel - length, 0)
        if self.config.padding != "none":
            rest += -(length + rest - kernel) % stride
        return F.pad(mixture[:, 0], (self._margin, self._margin + rest)).unfold(-1, kernel, stride)


class MaskHead(nn.Module):
    """From the features of a block to estimates: masks on the encoded mixture, decoded."""

    def __init__(self, config: SepFormerConfig) -> None:
        super().__init__()
        filters = config.filters
        self.num_sources, self.stride = len(config.sources), config.stride_samples
        self.positive_before = config.mask_activation == "before"
        self.activation = PReLU()
        self.split = Linear(config.dim, len(config.sources) * filters)
        self.output: nn.Module = {
            "plain": nn.Identity,
            "linear": lambda: Linear(filters, filters, bias=False),
            "gated": lambda: GatedOutput(filters),
        }[config.mask_output]()
        self.decoder = Linear(filters, config.kernel_samples, bias=False)
        # As a transposed convolution is drawn.
        bound = config.kernel_samples**-0.5
        nn.init.uniform_(self.decoder.weight, -bound, bound)

    def forward(
        self, features: Float[Tensor, "batch chunk chunk_frame dim"], encoded: Float[Tensor, "batch frame filter"]
    ) -> Float[Tensor, "batch source sample"]:
        chunks = self.split(self.activation(features))
        if self.positive_before:
            chunks = F.relu(chunks)
        frames = join_chunks(chunks, encoded.shape[1])
        masks = rearrange(frames, "batch frame (source filter) -> batch source frame filter", source=self.num_sources)
        masks = F.relu(self.output(masks))
        # The transposed convolution as a product and an overlap-add; PyTorch's own is many times slower on a CPU.
        pieces = self.decoder(masks * encoded.unsqueeze(1)).flatten(0, 1)
        return add_frames(pieces, self.stride).unflatten(0, (-1, self.num_sources))


class GatedOutput(nn.Module):
    """tanh(linear) x sigmoid(linear), then a linear map without bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.value, self.gate, self.out = Linear(dim, dim), Linear(dim, dim), Linear(dim, dim, bias=False)

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        return self.out(self.value(features).tanh() * self.gate(features).sigmoid())
