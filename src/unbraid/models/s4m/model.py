"""S4M: efficient speech separation with a state-space model at several time scales.

C. Chen, C.-H. H. Yang, K. Li, Y. Hu, P.-J. Ku, E. S. Chng, "A Neural State-Space Model(ing) Approach to Efficient
Speech Separation", Interspeech 2023, arXiv 2305.16932.

    mixture -> encoder -> norm -> bottleneck -> ONE block, run `num_rounds` times -> masks -> decoder -> estimates

    block:  expand -> levels 0 .. depth-1, each half as long -> their sum at the coarsest length -> S4 -> feed-forward
            -> fused into every level -> merged from coarse to fine -> back to the bottleneck, plus the block's input

Deviations, all of them choices in `S4MConfig`:
* `fusion`: the published code merges level i with the finer level i-1 in its first top-down step, which leaves one
  fusion unused; "next" (i+1, the coarser one) is our default and "previous" is the published wiring.
* `kernel_ms`: the published default of 21 ms is a slip (21 samples were meant); 2 ms and 4 ms are the values in use.
* `decoder_state_space`: the full S4M was never released. By its size it adds one S4 after each merge but the finest.
* The S4 kernel is computed once per forward although every round uses it; the result is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.activation import PReLU
from unbraid.layers.convolution import DepthwiseConv, multiply_add_resized, pool_average
from unbraid.layers.kernels.moments import moments
from unbraid.layers.linear import Linear
from unbraid.layers.norms import GlobalLayerNorm, at_least_float32
from unbraid.layers.state_space import StateSpaceConfig, StateSpaceLayer
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options
from unbraid.signal.frames import add_frames


@dataclass(frozen=True, kw_only=True)
class S4MConfig:
    """Settings of S4M; the defaults are S4M-tiny at 16 kHz (1,848,423 parameters)."""

    sample_rate: SampleRate = 16_000
    """Rate of mixture and estimates, in Hz."""

    sources: tuple[str, ...] = ("speaker1", "speaker2")
    """Names of the speakers; their number is the number of estimates."""

    kernel_ms: PositiveFloat = 2.0
    """Length of the encoder's filters, in milliseconds; they advance by a quarter of it."""

    bottleneck_dim: PositiveInt = 128
    """Features that the rounds hand on."""

    hidden_dim: PositiveInt = 512
    """Features inside the block, the same at every level."""

    num_rounds: PositiveInt = 16
    """How often the one shared block runs."""

    depth: PositiveInt = 5
    """Levels of the block; each halves the number of frames."""

    feedforward_factor: PositiveInt = 2
    """Width of the feed-forward part over `hidden_dim`."""

    fusion: Literal["next", "previous"] = "next"
    """Which level the first top-down step merges with: the coarser one, or the finer one as in the published code."""

    state_space: StateSpaceConfig = field(default_factory=StateSpaceConfig)
    """The state-space layer at the coarsest level."""

    decoder_state_space: Literal["none", "coarse", "all"] = "none"
    """Further state-space layers after the top-down merges: none (S4M-tiny), all but the finest (S4M), or all."""

    chunk_seconds: PositiveFloat = 10.0
    """ours: pieces for long recordings. Statistics are taken over a piece, so it should hold a few sentences."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.kernel_samples < 4 or self.kernel_samples % 4:
            raise ConfigError(
                f"kernel_ms={self.kernel_ms} at {self.sample_rate} Hz makes filters of {self.kernel_samples} samples; "
                "choose a length that is a multiple of four samples"
            )

    @property
    def kernel_samples(self) -> int:
        return int(self.kernel_ms * self.sample_rate / 1000)

    @property
    def stride_samples(self) -> int:
        return self.kernel_samples // 4


class S4M(SeparationModel):
    """S4M and S4M-tiny. For mono mixtures of speakers whose order carries no meaning."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=1,
            sources=config.sources,
            exchangeable=True,
            chunk_seconds=config.chunk_seconds,
        )
        kernel, stride, num_sources = config.kernel_samples, config.stride_samples, len(config.sources)
        basis = kernel // 2 + 1
        self.encoder = nn.Conv1d(1, basis, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = GlobalLayerNorm(basis)
        self.bottleneck = Linear(basis, config.bottleneck_dim)
        self.rounds = Rounds(config)
        self.mask_activation = PReLU()
        self.mask = Linear(config.bottleneck_dim, num_sources * basis)
        self.decoder = nn.ConvTranspose1d(
            num_sources * basis, num_sources, kernel, stride, padding=kernel // 2, bias=False
        )
        nn.init.xavier_uniform_(self.encoder.weight)
        nn.init.xavier_uniform_(self.decoder.weight)

    def forward(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch source 1 sample"]:
        num_samples = mixture.shape[-1]
        encoded = self.encoder(self._pad(mixture)).transpose(1, 2)
        features = self.rounds(self.bottleneck(self.norm(encoded)))
        masks = F.relu(self.mask(self.mask_activation(features)))
        masked = masks.unflatten(-1, (len(self.spec.sources), -1)) * encoded.unsqueeze(2)
        return self._decode(masked.flatten(2))[..., :num_samples].unsqueeze(2)

    def _decode(self, masked: Float[Tensor, "batch frame feature"]) -> Float[Tensor, "batch source sample"]:
        """The decoder's transposed convolution as a product and an overlap-add; PyTorch's own is 25 times slower."""
        kernel, stride = self.config.kernel_samples, self.config.stride_samples
        pieces = masked @ self.decoder.weight.flatten(1)
        pieces = rearrange(pieces, "batch frame (source sample) -> (batch source) frame sample", sample=kernel)
        decoded = add_frames(pieces, stride)[:, kernel // 2 + kernel - stride :]
        return rearrange(decoded, "(batch source) sample -> batch source sample", batch=masked.shape[0])

    def _pad(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch 1 padded"]:
        kernel, stride = self.config.kernel_samples, self.config.stride_samples
        rest = kernel - (stride + mixture.shape[-1] % kernel) % kernel
        return F.pad(mixture, (kernel - stride, rest + kernel - stride))


class Rounds(nn.Module):
    """The shared block, run again and again on the bottleneck features plus its own last output."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        self.num_rounds = config.num_rounds
        self.block = MultiScaleBlock(config)
        self.reinject = DepthwiseConv(config.bottleneck_dim, kernel_size=1)
        self.activation = PReLU()

    def forward(self, bottleneck: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        kernels = self.block.kernels(bottleneck.shape[1])
        features = self.block(bottleneck, kernels)
        for _ in range(self.num_rounds - 1):
            features = self.block(self.activation(self.reinject(bottleneck + features)), kernels)
        return features


class MultiScaleBlock(nn.Module):
    """Expand, look at every time scale, let S4 read the coarsest, and carry what it found back to the finest."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        dim, depth = config.hidden_dim, config.depth
        self.fusion = config.fusion
        self.expand = Linear(config.bottleneck_dim, dim)
        self.expand_norm = GlobalLayerNorm(dim)
        self.expand_activation = PReLU()
        self.levels = nn.ModuleList(
            ConvNorm(dim, kernel_size=5, stride=1 if level == 0 else 2, bias=True) for level in range(depth)
        )
        self.state_space = StateSpaceResidual(dim, config.state_space)
        self.feedforward = FeedForwardResidual(dim, config.feedforward_factor)
        self.lateral = nn.ModuleList(Fusion(dim, kernel_size=1) for _ in range(depth))
        self.merges = nn.ModuleList(Fusion(dim, kernel_size=5) for _ in range(depth - 1))
        with_state_space = {"none": 0, "coarse": depth - 2, "all": depth - 1}[config.decoder_state_space]
        # Coarsest merge first, which is the order in which they run.
        self.merge_state_spaces = nn.ModuleList(
            StateSpaceResidual(dim, config.state_space) for _ in range(max(with_state_space, 0))
        )
        self.contract = Linear(dim, config.bottleneck_dim)

    def kernels(self, num_frames: int) -> list[Tensor]:
        """S4 kernels for an input of so many frames: the coarsest level's, then those of the merges as they run."""
        lengths = [num_frames]
        for _ in self.levels[1:]:
            lengths.append((lengths[-1] + 1) // 2)
        merge_lengths = lengths[-2::-1]
        kernels = [self.state_space.layer.kernel(lengths[-1])]
        for module, length in zip(self.merge_state_spaces, merge_lengths, strict=False):
            assert isinstance(module, StateSpaceResidual)
            kernels.append(module.layer.kernel(length))
        return kernels

    def forward(self, features: Float[Tensor, "batch frame dim"], kernels: list[Tensor]) -> Tensor:
        hidden = self.expand_activation(self.expand_norm(self.expand(features)))
        levels, known = [], []
        for level in self.levels:
            assert isinstance(level, ConvNorm)
            hidden, level_moments = level.with_moments(hidden)
            levels.append(hidden)
            known.append(level_moments)
        coarsest = levels[-1].shape[1]
        summary = levels[-1]
        for level in levels[:-1]:
            summary = summary + pool_average(level, coarsest)
        summary = self.feedforward(self.state_space(summary, kernels[0]))
        fused = [fusion(level, summary, of) for fusion, level, of in zip(self.lateral, levels, known, strict=True)]
        merged = fused[-1] if self.fusion == "next" or len(fused) < 3 else fused[-3]
        for step, index in enumerate(range(len(fused) - 2, -1, -1)):
            merged = self.merges[index](fused[index], merged)
            if step < len(self.merge_state_spaces):
                merged = self.merge_state_spaces[step](merged, kernels[1 + step])
        return self.contract(merged) + features


class Fusion(nn.Module):
    """A local sequence gated and shifted by a global one that is resized to it:  local * sigmoid(gate) + shift.

    The norm of the local part is an affine map of each feature, so it is merged with gate and shift while these are
    still at the global sequence's coarser resolution; the long sequence is then touched once.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.local = ConvNorm(dim, kernel_size, bias=False)
        self.gate = ConvNorm(dim, kernel_size, bias=False)
        self.shift = ConvNorm(dim, kernel_size, bias=False)

    def forward(
        self,
        local: Float[Tensor, "batch frame dim"],
        summary: Float[Tensor, "batch summary_frame dim"],
        local_moments: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "batch frame dim"]:
        """`local_moments` are each feature's mean and mean square, where the caller knows them."""
        convolved, scale, offset = self.local.unfused(local, local_moments)
        gate = torch.sigmoid(self.gate(summary))
        shift = torch.addcmul(self.shift(summary), gate, offset)
        return multiply_add_resized(convolved, gate * scale, shift)


class ConvNorm(nn.Module):
    """Depthwise convolution, then global layer norm."""

    def __init__(self, dim: int, kernel_size: int, stride: int = 1, *, bias: bool) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, stride, bias)
        self.norm = GlobalLayerNorm(dim)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch out_frame dim"]:
        convolved, scale, offset = self.unfused(features)
        return torch.addcmul(offset, convolved, scale)

    def with_moments(
        self, features: Float[Tensor, "batch frame dim"]
    ) -> tuple[Float[Tensor, "batch out_frame dim"], tuple[Tensor, Tensor]]:
        """The output, and each of its features' mean and mean square, which cost next to nothing here."""
        convolved = self.conv(features)
        mean, mean_square = moments(at_least_float32(convolved), dim=(1,))
        scale, offset = self.norm.affine_from(mean.mean(-1, keepdim=True), mean_square.mean(-1, keepdim=True))
        after = scale * mean + offset, scale.square() * mean_square + 2 * scale * offset * mean + offset.square()
        return torch.addcmul(offset.to(convolved.dtype), convolved, scale.to(convolved.dtype)), after

    def unfused(
        self, features: Float[Tensor, "batch frame dim"], known: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch out_frame dim"], Float[Tensor, "batch 1 dim"], Float[Tensor, "batch 1 dim"]]:
        """A sequence, and the scale and offset that turn it into this module's output."""
        if self.conv.kernel_size == 1 and self.conv.bias is None and self.conv.stride == 1:
            # The filter is one weight w per feature: the moments of w x follow from those of x without forming it.
            weight = self.conv.weight[:, 0]
            mean, mean_square = known or moments(at_least_float32(features), dim=(1,))
            mean = (mean * weight).mean(-1, keepdim=True)
            scale, offset = self.norm.affine_from(mean, (mean_square * weight.square()).mean(-1, keepdim=True))
            convolved, scale = features, scale * weight
        else:
            convolved = self.conv(features)
            scale, offset = self.norm.affine(convolved)
        return convolved, scale.to(convolved.dtype), offset.to(convolved.dtype)


class StateSpaceResidual(nn.Module):
    """x + S4(LayerNorm(x))."""

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layer = StateSpaceLayer(dim, config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Float[Tensor, "batch frame dim"], kernel: Tensor) -> Float[Tensor, "batch frame dim"]:
        return features + self.dropout(self.layer(self.norm(features), kernel))


class FeedForwardResidual(nn.Module):
    """x + W2 gelu(W1 LayerNorm(x))."""

    def __init__(self, dim: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = Linear(dim, factor * dim)
        self.narrow = Linear(factor * dim, dim)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        return features + self.narrow(F.gelu(self.widen(self.norm(features))))
