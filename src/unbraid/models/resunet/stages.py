"""The stages of the residual U-Net: pre-activated residual units, and decoders that stretch the plane before them."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.linear import Linear
from unbraid.layers.norms import BatchNorm
from unbraid.models.resunet.fused_convolution import can_fuse, conv_plus, conv_then_leaky

_SLOPE = 0.01


class Stage(nn.Sequential):
    """Residual units, of which the first may change the number of features."""

    def __init__(self, dim_in: int, dim_out: int, units: int) -> None:
        super().__init__(*(ResidualUnit(dim_in if index == 0 else dim_out, dim_out) for index in range(units)))


class ResidualUnit(nn.Module):
    """Norm, activation, 3 x 3 convolution, twice, and the input added; a linear map of it where sizes differ."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.norm_in = BatchNorm(dim_in)
        self.conv_in = PlaneConv(dim_in, dim_out, bias=False)
        self.norm_out = BatchNorm(dim_out)
        self.conv_out = PlaneConv(dim_out, dim_out, bias=False)
        self.shortcut = Linear(dim_in, dim_out) if dim_in != dim_out else None

    def forward(self, features: Float[Tensor, "batch frame freq dim_in"]) -> Float[Tensor, "batch frame freq dim_out"]:
        active = F.leaky_relu_(self.norm_in(features), _SLOPE)
        added = features if self.shortcut is None else self.shortcut(features)
        if not self.training and can_fuse(features):
            # The second norm follows a convolution and is taken into its weights; the first follows a sum.
            scale, shift = self.norm_out.affine()
            hidden = conv_then_leaky(active, self.conv_in.weight * scale[:, None, None, None], shift, _SLOPE)
            return conv_plus(hidden, self.conv_out.weight, added.contiguous())
        hidden = F.leaky_relu_(self.norm_out(self.conv_in(active)), _SLOPE)
        return self.conv_out(hidden) + added


class DecoderStage(nn.Module):
    """Stretches the plane, puts the encoder's output beside it, and goes through a stage."""

    def __init__(self, dim_in: int, dim_out: int, step: tuple[int, int], units: int) -> None:
        super().__init__()
        self.step = step
        self.norm = BatchNorm(dim_in)
        # A transposed convolution whose kernel is as wide as its step gives each bin a linear map to those it becomes.
        self.stretch = Linear(dim_in, step[0] * step[1] * dim_out, bias=False)
        self.stage = Stage(2 * dim_out, dim_out, units)

    def forward(
        self, features: Float[Tensor, "batch frame freq dim_in"], skip: Float[Tensor, "batch up_frame up_freq dim_out"]
    ) -> Float[Tensor, "batch up_frame up_freq dim_out"]:
        stretched = rearrange(
            self.stretch(F.relu_(self.norm(features))),
            "batch frame freq (frame_step freq_step dim) -> batch (frame frame_step) (freq freq_step) dim",
            frame_step=self.step[0],
            freq_step=self.step[1],
        )
        return self.stage(torch.cat([stretched, skip], dim=-1))
