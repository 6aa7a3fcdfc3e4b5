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
* ours: `coarsest` puts Mamba or attention in the place of S4.
* The S4 kernel is computed once per forward although every round uses it; the result is the same.
"""

from __future__ import annotations

from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.activation import PReLU
from unbraid.layers.linear import Linear
from unbraid.layers.norms import GlobalLayerNorm
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.s4m.block import Rounds
from unbraid.models.s4m.config import S4MConfig
from unbraid.signal.frames import add_frames

__all__ = ["S4M", "S4MConfig"]


class S4M(SeparationModel[S4MConfig]):
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
        return self._decode(self.core(encoded))[..., :num_samples].unsqueeze(2)

    def core(self, encoded: Float[Tensor, "batch frame basis"]) -> Float[Tensor, "batch frame feature"]:
        """The encoded mixture times the mask of each source, one source's features after the other's."""
        features = self.rounds(self.bottleneck(self.norm(encoded)))
        masks = F.relu(self.mask(self.mask_activation(features)))
        masked = masks.unflatten(-1, (len(self.spec.sources), -1)) * encoded.unsqueeze(2)
        return masked.flatten(2)

    def compiled_parts(self) -> tuple[nn.Module, ...]:
        """The block: as a whole, the compiler would unroll its rounds, and take as many times as long."""
        return (self.rounds.block,)

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
