"""S4M's multi-scale block in few passes over memory, for separation on a CPU; `MultiScaleBlock.forward` says the same.

No norm's output is written: a sequence stays as its filter has left it, with the scale and offset that the norm gives
it, and both are applied where it is read next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import pool_average
from unbraid.layers.kernels.normed_filter import Mapped, Moments, filter_mapped, fuse_gates, take_moments, write_mapped
from unbraid.layers.norms import GlobalLayerNorm, pooled_moments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unbraid.models.s4m.block import MultiScaleBlock
    from unbraid.models.s4m.parts import ConvNorm, Fusion


def run_block(
    block: MultiScaleBlock, features: Float[Tensor, "batch frame dim"], kernels: tuple[Tensor, ...]
) -> Float[Tensor, "batch frame dim"]:
    """expand -> levels -> their sum -> S4 -> feed-forward -> fused into every level -> merged -> back."""
    expanded = block.expand(features)
    hidden = _normed(block.expand_norm, expanded, take_moments(expanded), block.expand_activation.weight)
    levels, known = [], []
    for level in cast("Iterable[ConvNorm]", block.levels):
        [(convolved, found)] = _convolve(hidden, level)
        hidden = _normed(level.norm, convolved, found)
        levels.append(hidden)
        known.append(found)
    summary = Mapped(block.feedforward(block.state_space(_sum_at_coarsest(levels), kernels[0])))
    fused = [
        _fuse(summary, fusion, _weighted(fusion.local, level, found))
        for fusion, level, found in zip(cast("Iterable[Fusion]", block.lateral), levels, known, strict=True)
    ]
    return block.contract(write_mapped(_ascend(block, fused, kernels[1:]))) + features


def is_watched(block: MultiScaleBlock) -> bool:
    """Whether somebody has a hook on one of its layers, which do not run one by one here."""
    return any(layer._forward_hooks or layer._forward_pre_hooks for layer in block.modules() if layer is not block)


def _sum_at_coarsest(levels: list[Mapped]) -> Tensor:
    """Pooled before they are normed, which is linear: few frames are left then."""
    size, total = levels[-1].features.shape[1], None
    for level in reversed(levels):
        pooled = write_mapped(replace(level, features=pool_average(level.features, size)))
        total = pooled if total is None else total + pooled
    assert total is not None
    return total


def _ascend(block: MultiScaleBlock, fused: list[Mapped], kernels: tuple[Tensor, ...]) -> Mapped:
    merged = fused[-1] if block.fusion == "next" or len(fused) < 3 else fused[-3]
    for step, index in enumerate(range(len(fused) - 2, -1, -1)):
        merge = cast("Fusion", block.merges[index])
        [(convolved, found)] = _convolve(fused[index], merge.local)
        merged = _fuse(merged, merge, _normed(merge.local.norm, convolved, found))
        if step < len(block.merge_state_spaces):
            merged = Mapped(block.merge_state_spaces[step](write_mapped(merged), kernels[step]))
    return merged


def _fuse(summary: Mapped, fusion: Fusion, local: Mapped) -> Mapped:
    """local * sigmoid(gate) + shift, the latter two made of the summary."""
    gate, shift = (
        _normed(module.norm, convolved, found)
        for module, (convolved, found) in zip(
            (fusion.gate, fusion.shift), _convolve(summary, fusion.gate, fusion.shift), strict=True
        )
    )
    assert local.factor is not None
    assert local.summand is not None
    return Mapped(local.features, *fuse_gates(gate, shift, local.factor, local.summand))


def _convolve(sequence: Mapped, *modules: ConvNorm) -> list[tuple[Tensor, Moments]]:
    convs = [module.conv for module in modules]
    weights: list[Tensor] = [conv.weight for conv in convs]
    biases: list[Tensor] = [conv.bias for conv in convs if conv.bias is not None]
    return filter_mapped(sequence, torch.stack(weights), torch.stack(biases) if biases else None, convs[0].stride)


def _normed(norm: GlobalLayerNorm, features: Tensor, found: Moments, slope: Tensor | None = None) -> Mapped:
    """The norm's scale and offset, which follow from the moments of the features."""
    return Mapped(features, *norm.affine_from(*pooled_moments(*found)), slope)


def _weighted(module: ConvNorm, level: Mapped, found: Moments) -> Mapped:
    """The level times one weight per feature and normed again: two maps become one, of the same features."""
    (mean, variance), weight, scale, offset = found, module.conv.weight[:, 0], level.factor, level.summand
    assert scale is not None
    assert offset is not None
    weighted_scale, weighted_offset = weight * scale, weight * offset
    moments = pooled_moments(weighted_scale * mean + weighted_offset, weighted_scale.square() * variance)
    again_scale, again_offset = module.norm.affine_from(*moments)
    return Mapped(level.features, again_scale * weighted_scale, again_scale * weighted_offset + again_offset)
