"""Causal S4M's rounds for groups of frames that arrive one after the other.

The fast form of `CausalRounds`, its slow twin, for inference; tests/contract/test_live.py holds the two together. Eight
frames are so few that what takes time is the number of operations, so what can be done at once is stacked:

* gate and shift of a fusion filter the same frames,
* the lateral fusions of all levels read the one summary, and their filters are one frame long, so that all levels of a
  group are fifteen frames of one tensor,
* S4's state, input and output are one product with one matrix:  (state', output) = [A; C A] state + [B; C B + D] input.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import multiply_add_resized
from unbraid.models.s4m.causal_parts import CausalConvNorm, CausalFusion
from unbraid.models.s4m.parts import StateSpaceResidual

if TYPE_CHECKING:
    from unbraid.models.s4m.causal import CausalBlock, CausalRounds


class CarriedRounds:
    """`CausalRounds` with the weights that it has now, and what the frames so far have left behind."""

    def __init__(self, rounds: CausalRounds, batch_size: int) -> None:
        self._rounds, self._block = rounds, CarriedBlock(rounds.block)
        self._batch_size = batch_size
        self.begin()

    def begin(self) -> None:
        """Silence lies before the next frame."""
        self._kept = [self._block.at_rest(self._batch_size) for _ in range(self._rounds.num_rounds)]

    @property
    def num_values(self) -> int:
        """Numbers that are kept."""
        return sum(tensor.numel() for kept in self._kept for tensor in kept)

    def __call__(self, bottleneck: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        rounds = self._rounds
        features = bottleneck
        for index, kept in enumerate(self._kept):
            if index:
                features = rounds.activation(rounds.reinject(bottleneck + features))
            features, self._kept[index] = self._block(features, kept)
        return features


class CarriedBlock:
    """`CausalBlock`, given what the groups before left behind and giving what the next needs."""

    def __init__(self, block: CausalBlock) -> None:
        self._block = block
        self._frames = [2**level for level in range(len(block.levels))][::-1]
        """Of each level in a group."""
        weight = block.expand.weight
        self._mean = torch.cat([weight.new_full((frames,), 1 / frames) for frames in self._frames])
        self._levels = [StackedFilters(_filter(level)) for level in block.levels]
        self._state_space = CarriedStateSpace(block.state_space)
        self._lateral = LateralFusions([_fusion(one) for one in block.lateral], self._frames)
        self._merges = [
            (StackedFilters(merge.gate, merge.shift), StackedFilters(merge.local))
            for merge in map(_fusion, reversed(block.merges))
        ]
        """From coarse to fine."""

    def at_rest(self, batch_size: int) -> list[Tensor]:
        """What silence leaves behind, in the order in which it is asked for."""
        merges = [part for merge in self._merges for part in merge]
        return [part.at_rest(batch_size) for part in (*self._levels, self._state_space, *merges)]

    def __call__(
        self, features: Float[Tensor, "batch frame dim"], kept: list[Tensor]
    ) -> tuple[Float[Tensor, "batch frame dim"], list[Tensor]]:
        block, num_groups = self._block, features.shape[1] // self._frames[0]
        past, keep, levels = iter(kept), [], []
        hidden = block.expand_activation(block.expand_norm(block.expand(features)))
        for level in self._levels:
            hidden, left = level(hidden, next(past))
            hidden = hidden.squeeze(2)
            keep.append(left)
            levels.append(hidden.unflatten(1, (num_groups, -1)))
        grouped = torch.cat(levels, dim=2)
        summary, state = self._state_space(torch.matmul(self._mean, grouped), next(past))
        keep.append(state)
        *finer, coarsest = self._lateral(grouped, block.feedforward(summary)).split(self._frames, dim=2)
        merged = coarsest.flatten(1, 2)
        for (coarse_filters, local_filter), fused in zip(self._merges, reversed(finer), strict=True):
            coarse, left = coarse_filters(merged, next(past))
            keep.append(left)
            local, left = local_filter(fused.flatten(1, 2), next(past))
            keep.append(left)
            merged = multiply_add_resized(local.squeeze(2), torch.sigmoid(coarse[:, :, 0]), coarse[:, :, 1])
        return block.contract(merged) + features, keep


class StackedFilters:
    """`CausalConvNorm`s of one shape that read the same frames."""

    def __init__(self, *layers: CausalConvNorm) -> None:
        first = layers[0]
        self._stride, self._context, self._taps = first.conv.stride, first.context, first.conv.kernel_size
        self._weight = torch.stack([layer.conv.weight.t() for layer in layers])
        self._bias = None if first.conv.bias is None else torch.stack([_bias_of(layer) for layer in layers])
        self._norm = StackedNorms([layer.norm for layer in layers])

    def at_rest(self, batch_size: int) -> Tensor:
        return self._weight.new_zeros(batch_size, self._context, self._weight.shape[-1])

    def __call__(
        self, features: Float[Tensor, "batch frame dim"], past: Float[Tensor, "batch context dim"]
    ) -> tuple[Float[Tensor, "batch out_frame filter dim"], Float[Tensor, "batch context dim"]]:
        joined = torch.cat([past, features], dim=1)
        # A copy: a view would keep all the frames.
        left = joined[:, -self._context :].clone()
        windows = joined.unfold(1, self._taps, self._stride).transpose(2, 3).unsqueeze(2)
        filtered = (windows * self._weight).sum(3)
        if self._bias is not None:
            filtered = filtered + self._bias
        return self._norm(filtered), left


class StackedNorms:
    """Layer norms, each of its own row."""

    def __init__(self, norms: Sequence[nn.LayerNorm]) -> None:
        self._scale = torch.stack([norm.weight for norm in norms])
        self._offset = torch.stack([norm.bias for norm in norms])
        self._eps = norms[0].eps

    def __call__(self, features: Float[Tensor, "*axes row dim"]) -> Float[Tensor, "*axes row dim"]:
        shape = features.shape[-1:]
        if len(self._scale) == 1:
            return F.layer_norm(features, shape, self._scale[0], self._offset[0], self._eps)
        return torch.addcmul(self._offset, F.layer_norm(features, shape, eps=self._eps), self._scale)


class LateralFusions:
    """The `CausalFusion`s of all levels with the one summary; the levels' frames of a group lie side by side."""

    def __init__(self, fusions: Sequence[CausalFusion], frames: Sequence[int]) -> None:
        """`frames` is how many a group has of each level."""
        rows = [fusion for fusion, count in zip(fusions, frames, strict=True) for _ in range(count)]
        coarse = [fusion.gate for fusion in rows] + [fusion.shift for fusion in rows]
        self._num_rows = len(rows)
        self._local_weight = torch.stack([fusion.local.conv.weight[:, 0] for fusion in rows])
        self._local_norm = StackedNorms([fusion.local.norm for fusion in rows])
        self._coarse_weight = torch.stack([layer.conv.weight[:, 0] for layer in coarse])
        self._coarse_norm = StackedNorms([layer.norm for layer in coarse])

    def __call__(
        self, levels: Float[Tensor, "batch group row dim"], summary: Float[Tensor, "batch group dim"]
    ) -> Float[Tensor, "batch group row dim"]:
        coarse = self._coarse_norm(summary.unsqueeze(2) * self._coarse_weight)
        gate, shift = torch.sigmoid(coarse[:, :, : self._num_rows]), coarse[:, :, self._num_rows :]
        return torch.addcmul(shift, self._local_norm(levels * self._local_weight), gate)


class CarriedStateSpace:
    """`StateSpaceResidual` with its state."""

    def __init__(self, layer: StateSpaceResidual) -> None:
        self._norm, self._layer = layer.norm, layer.layer
        # The state adds up over hours, and PyTorch has no complex numbers of 16 bits.
        wide = deepcopy(layer.layer).float()
        system, skip = wide.system.discretise(), wide.skip
        readout = system.readout[0]
        seen = torch.einsum("ds,dsj->dj", readout, system.transition)
        self._matrix = torch.cat([system.transition, seen[:, None]], dim=1)
        passed = (readout * system.drive).sum(-1, keepdim=True) + skip[:, None]
        self._drive = torch.cat([system.drive, passed], dim=1)[..., None]

    def at_rest(self, batch_size: int) -> Tensor:
        return self._matrix.new_zeros(self._matrix.shape[0], self._matrix.shape[2], batch_size)

    def __call__(
        self, features: Float[Tensor, "batch frame dim"], state: Float[Tensor, "dim state batch"]
    ) -> tuple[Float[Tensor, "batch frame dim"], Float[Tensor, "dim state batch"]]:
        inputs = self._norm(features).to(self._drive.dtype).permute(1, 2, 0).unsqueeze(2)
        outputs = []
        for driven in (self._drive * inputs).unbind(0):
            both = torch.baddbmm(driven, self._matrix, state)
            state = both[:, :-1]
            outputs.append(both[:, -1])
        filtered = torch.stack(outputs).permute(2, 0, 1).to(features.dtype)
        return features + F.glu(self._layer.mix(F.gelu(filtered)), dim=-1), state


def _filter(module: nn.Module) -> CausalConvNorm:
    """What a list of modules holds, by its true type."""
    assert isinstance(module, CausalConvNorm)
    return module


def _fusion(module: nn.Module) -> CausalFusion:
    assert isinstance(module, CausalFusion)
    return module


def _bias_of(layer: CausalConvNorm) -> Tensor:
    assert layer.conv.bias is not None
    return layer.conv.bias
