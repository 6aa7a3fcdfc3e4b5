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

from torch import nn

from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.sequence import SequenceConfig
from unbraid.models.dprnn.model import DPRNN, DPRNNConfig
from unbraid.models.sepformer.blocks import DualPathBlock, FeedForward
from unbraid.options import PositiveInt


@dataclass(frozen=True, kw_only=True)
class SepFormerConfig(DPRNNConfig):
    """Settings of SepFormer beside DPRNN's; the defaults are those of SpeechBrain's recipe for WSJ0-2mix."""

    dim: PositiveInt = 256
    """Features of the blocks."""

    kernel_samples: PositiveInt = 16
    """Length of the encoder's filters."""

    stride_samples: PositiveInt = 8
    """By how much they advance."""

    padding: Literal["none", "right", "both"] = "none"
    """As DPRNN's; "none" as SpeechBrain has it."""

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

    final_norms: bool = True
    """Whether a stack ends in a LayerNorm and, before the skip, in a `norm`. Without, each skip doubles the trunk."""

    linear_after_stack: bool = False
    """Whether a linear map follows every stack."""

    def build_block(self) -> nn.Module:
        return DualPathBlock(
            self.dim,
            num_layers=self.num_layers,
            sequence=self.sequence,
            feedforward=self.feedforward,
            feedforward_dim=self.feedforward_dim,
            norm=self.norm,
            final_norms=self.final_norms,
            linear_after=self.linear_after_stack,
        )


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


class SepFormer(DPRNN):
    """SepFormer and the separator of SFSRNet, for mono mixtures."""
