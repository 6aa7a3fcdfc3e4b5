"""S4M's multi-scale block, and the rounds in which it runs.

expand -> levels 0 .. depth-1, each half as long -> their sum at the coarsest length -> S4 -> feed-forward
       -> fused into every level -> merged from coarse to fine -> back to the bottleneck, plus the block's input
"""

from __future__ import annotations

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.layers.activation import PReLU
from unbraid.layers.convolution import DepthwiseConv, pool_average
from unbraid.layers.kernels import normed_filter
from unbraid.layers.linear import Linear
from unbraid.layers.memory import Checkpointed
from unbraid.layers.norms import GlobalLayerNorm
from unbraid.models.s4m.config import S4MConfig
from unbraid.models.s4m.few_passes import is_watched, run_block
from unbraid.models.s4m.parts import ConvNorm, FeedForwardResidual, Fusion, StateSpaceResidual, build_coarsest


class Rounds(Checkpointed):
    """The shared block, run again and again on the bottleneck features plus its own last output."""

    def __init__(self, config: S4MConfig) -> None:
        super().__init__()
        self.num_rounds = config.num_rounds
        self.block = MultiScaleBlock(config)
        self.reinject = DepthwiseConv(config.bottleneck_dim, kernel_size=1)
        self.activation = PReLU()

    def forward(self, bottleneck: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        kernels = self.block.kernels(bottleneck.shape[1])
        features = self.recomputed(self.block, bottleneck, *kernels)
        for _ in range(self.num_rounds - 1):
            features = self.recomputed(self.block, self.activation(self.reinject(bottleneck + features)), *kernels)
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
        # Named after S4 whatever it is, as in stored weights.
        self.state_space = build_coarsest(config)
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
        kernels = [self.state_space.kernel(lengths[-1])]
        for module, length in zip(self.merge_state_spaces, merge_lengths, strict=False):
            assert isinstance(module, StateSpaceResidual)
            kernels.append(module.kernel(length))
        return kernels

    def forward(self, features: Float[Tensor, "batch frame dim"], *kernels: Tensor) -> Tensor:
        if normed_filter.takes(features) and not is_watched(self):
            return run_block(self, features, kernels)
        hidden = self.expand_activation(self.expand_norm(self.expand(features)))
        levels, known = self._descend(hidden)
        summary = self.feedforward(self.state_space(self._sum_at_coarsest(levels), kernels[0]))
        fused = [fusion(level, summary, of) for fusion, level, of in zip(self.lateral, levels, known, strict=True)]
        return self.contract(self._ascend(fused, kernels[1:])) + features

    def _descend(self, hidden: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """The levels, finest first, each with the mean and variance of its features."""
        levels, known = [], []
        for level in self.levels:
            assert isinstance(level, ConvNorm)
            hidden, level_moments = level.with_moments(hidden)
            levels.append(hidden)
            known.append(level_moments)
        return levels, known

    def _sum_at_coarsest(self, levels: list[Tensor]) -> Tensor:
        summary = levels[-1]
        for level in levels[:-1]:
            summary = summary + pool_average(level, levels[-1].shape[1])
        return summary

    def _ascend(self, fused: list[Tensor], kernels: tuple[Tensor, ...]) -> Tensor:
        """Merged from coarse to fine, with a state-space layer after a merge where there is one."""
        merged = fused[-1] if self.fusion == "next" or len(fused) < 3 else fused[-3]
        for step, index in enumerate(range(len(fused) - 2, -1, -1)):
            merged = self.merges[index](fused[index], merged)
            if step < len(self.merge_state_spaces):
                merged = self.merge_state_spaces[step](merged, kernels[step])
        return merged
