"""DPRNN: a recurrent network that reads a long sequence in chunks, within each chunk and across all of them.

Y. Luo, Z. Chen, T. Yoshioka, "Dual-path RNN: Efficient Long Sequence Modeling for Time-domain Single-channel Speech
Separation", ICASSP 2020, arXiv 1910.06379.

    mixture -> encoder -> norm -> linear -> chunks -> block, block, ..., block -> head -> estimates
    block:  x + norm(LSTM within chunks), then x + norm(LSTM across chunks); each LSTM reads both ways and is followed
            by a linear map
    head:   PReLU -> linear -> overlap-add -> gate -> masks x encoded mixture -> decoder

The defaults are the paper's best: filters of 2 samples that advance by one, 64 features, 128 states in each direction,
six blocks, chunks of 250 frames (2,608,001 parameters; the paper says 2.6 M). SFSRNet attaches its super-resolution
network to the form with a stride of 8.

ours: a ReLU after the encoder and one on the masks, as in SepFormer, which is this network with transformers in place
of the LSTMs and whose code takes all but the blocks from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.linear import Linear
from unbraid.layers.memory import Checkpointed
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.layers.sequence import SequenceConfig, along_bands, build_sequence_layer
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.dprnn.chunks import Norm, build_norm, cut_chunks
from unbraid.models.dprnn.heads import MaskActivation, MaskHead, MaskOutput
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options


@dataclass(frozen=True, kw_only=True)
class DPRNNConfig:
    """Settings of DPRNN; the defaults are those of the paper's best for WSJ0-2mix."""

    sample_rate: SampleRate = 8000
    """Rate of mixture and estimates, in Hz."""

    sources: tuple[str, ...] = ("speaker1", "speaker2")
    """Names of the sources; their number is the number of estimates."""

    exchangeable: bool = True
    """True for speakers, whose order carries no meaning; False for stems."""

    dim: PositiveInt = 64
    """Features of the blocks."""

    num_filters: PositiveInt | None = None
    """Filters of the encoder; None: as many as `dim`. ours: with a large stride it takes more of them to tell two
    speakers apart."""

    kernel_samples: PositiveInt = 2
    """Length of the encoder's filters."""

    stride_samples: PositiveInt = 1
    """By how much they advance."""

    padding: Literal["none", "right", "both"] = "both"
    """Zeros so that filters reach every sample: none, at the end as many as that takes, or also so many at both ends
    that as many filters see the first and the last sample as any other."""

    chunk_frames: PositiveInt = 250
    """Frames of a chunk; chunks overlap by half."""

    num_blocks: PositiveInt = 6

    sequence: SequenceConfig = field(default_factory=lambda: RecurrentConfig(kind="lstm", hidden_dim=128))
    """What reads the sequences of a block."""

    norm: Norm = "global"
    """Statistics of the norms: over the whole example, or frame by frame."""

    heads: Literal["last", "each", "shared"] = "last"
    """A head after the last block only, one of its own for each block, or one for all blocks."""

    mask_output: MaskOutput = "gated"
    """What comes between overlap-add and the masks: nothing, a linear map, or tanh times sigmoid and a linear map."""

    mask_activation: MaskActivation = "after"
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

    def build_block(self) -> nn.Module:
        """From (batch, chunk, frame, dim) to the same shape."""
        return RecurrentBlock(self.dim, self.sequence, self.norm)

    def build_head(self) -> nn.Module:
        return MaskHead(
            self.dim,
            num_filters=self.filters,
            num_sources=len(self.sources),
            kernel_samples=self.kernel_samples,
            stride_samples=self.stride_samples,
            mask_output=self.mask_output,
            mask_activation=self.mask_activation,
        )


class DPRNN(SeparationModel[DPRNNConfig]):
    """DPRNN, and with other blocks SepFormer, for mono mixtures."""

    def __init__(self, config: DPRNNConfig) -> None:
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
        self.blocks = nn.ModuleList(config.build_block() for _ in range(config.num_blocks))
        num_heads = config.num_blocks if config.heads == "each" else 1
        self.heads = nn.ModuleList(config.build_head() for _ in range(num_heads))

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


class RecurrentBlock(nn.Module):
    """The path within chunks, then the path across chunks."""

    def __init__(self, dim: int, sequence: SequenceConfig, norm: Norm) -> None:
        super().__init__()
        self.within, self.across = (RecurrentPath(dim, sequence, norm) for _ in range(2))

    def forward(self, chunks: Float[Tensor, "batch chunk frame dim"]) -> Float[Tensor, "batch chunk frame dim"]:
        chunks = self.within(chunks)
        return self.across(chunks.transpose(1, 2).contiguous()).transpose(1, 2).contiguous()


class RecurrentPath(Checkpointed):
    """x + norm(sequence(x)) over the rows of a plane, each of which is one sequence."""

    def __init__(self, dim: int, sequence: SequenceConfig, norm: Norm) -> None:
        super().__init__()
        self.sequence = build_sequence_layer(dim, sequence)
        self.norm = build_norm(dim, norm)

    def forward(self, plane: Float[Tensor, "batch row frame dim"]) -> Float[Tensor, "batch row frame dim"]:
        return plane + self.recomputed(self.transform, plane)

    def transform(self, plane: Float[Tensor, "batch row frame dim"]) -> Float[Tensor, "batch row frame dim"]:
        return self.norm(along_bands(self.sequence, plane).flatten(1, 2)).view(plane.shape)
