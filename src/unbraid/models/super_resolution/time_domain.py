"""Super-resolution in the time domain, the step that SFSRNet's authors name as the next: ours, no part of the paper.

    mixture, estimates -> short filters -> blocks -> short filters back -> residuals;   estimate + residual
    block:  x + convolution(ReLU(norm x)), each looking three times as far apart as the one before

Where the network of the paper mends magnitudes and keeps phases, this one mends waveforms. It costs as much as the
paper's: 109 GMAC per second for two sources, at every rate, since its filters keep their duration. Norms take one frame
at a time, so that nothing reaches further than the convolutions. As in the other network, signals are divided by the
mixture's RMS level, and the last layer begins at a hundredth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.linear import Linear
from unbraid.layers.norms import at_least_float32
from unbraid.options import PositiveFloat, PositiveInt, check_options
from unbraid.signal.frames import add_frames

_LEAST_SCALE = 1e-8
_SPREAD = 3
"""How many times further apart each block's taps stand than those of the block before."""


@dataclass(frozen=True, kw_only=True)
class TimeSuperResolutionConfig:
    """Settings of the network in the time domain; the defaults cost what the paper's network costs."""

    domain: Literal["time"] = "time"

    filter_ms: PositiveFloat = 0.5
    """Length of the filters, to the nearest even number of samples (4 at 8 kHz); they advance by half of it."""

    hidden_dim: PositiveInt = 724

    kernel_size: PositiveInt = 13
    """Frames that each block's convolution sees; odd."""

    num_blocks: PositiveInt = 4

    def __post_init__(self) -> None:
        check_options(self)
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size is odd so that frames keep their place, not {self.kernel_size}")

    def stride_samples(self, sample_rate: int) -> int:
        return max(1, round(self.filter_ms * sample_rate / 2000))


class TimeSuperResolution(nn.Module):
    """Mends estimates: mixture and estimates in, better estimates out, of the same shape and level."""

    def __init__(self, config: TimeSuperResolutionConfig, sample_rate: int, num_sources: int) -> None:
        super().__init__()
        self.config, self.stride = config, config.stride_samples(sample_rate)
        dim = config.hidden_dim
        self.analysis = Linear(2 * self.stride * (1 + num_sources), dim)
        self.blocks = nn.ModuleList(
            Block(dim, config.kernel_size, _SPREAD**place) for place in range(config.num_blocks)
        )
        self.synthesis = Linear(dim, 2 * self.stride * num_sources, bias=False)
        # A network that has learned nothing yet should leave a good separator's estimates nearly alone.
        nn.init.uniform_(self.synthesis.weight, -0.01 * dim**-0.5, 0.01 * dim**-0.5)

    def forward(
        self,
        mixture: Float[Tensor, "batch channel sample"],
        estimates: Float[Tensor, "batch source channel sample"],
    ) -> Float[Tensor, "batch source channel sample"]:
        exact, num_channels = at_least_float32(estimates), mixture.shape[1]
        heard = rearrange(at_least_float32(mixture), "batch channel sample -> (batch channel) 1 sample")
        found = rearrange(exact, "batch source channel sample -> (batch channel) source sample")
        power = heard.square().mean((1, 2), keepdim=True).clamp_min(_LEAST_SCALE**2)
        residual = self.residual(heard / power.sqrt(), found / power.sqrt()) * power.sqrt()
        change = rearrange(
            residual, "(batch channel) source sample -> batch source channel sample", channel=num_channels
        )
        return (exact + change).to(estimates.dtype)

    def residual(
        self, mixture: Float[Tensor, "row 1 sample"], estimates: Float[Tensor, "row source sample"]
    ) -> Float[Tensor, "row source sample"]:
        """What is to be added to the estimates."""
        num_sources, num_samples = estimates.shape[1:]
        signals = F.pad(mixture, (0, 0, 0, num_sources)) + F.pad(estimates, (0, 0, 1, 0))
        # Every sample stands in two filters.
        signals = F.pad(signals, (self.stride, self.stride + -num_samples % self.stride))
        frames = rearrange(
            signals.unfold(-1, 2 * self.stride, self.stride), "row signal frame sample -> row frame (signal sample)"
        )
        features = self.analysis(frames)
        for block in self.blocks:
            features = block(features)
        pieces = rearrange(
            at_least_float32(self.synthesis(features)),
            "row frame (source sample) -> (row source) frame sample",
            source=num_sources,
        )
        added = add_frames(pieces, self.stride)[:, self.stride : self.stride + num_samples]
        return rearrange(added, "(row source) sample -> row source sample", source=num_sources)


class Block(nn.Module):
    """x + convolution(ReLU(norm x)), whose taps stand `spread` frames apart."""

    def __init__(self, dim: int, kernel_size: int, spread: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv1d(dim, dim, kernel_size, dilation=spread, padding=kernel_size // 2 * spread)

    def forward(self, features: Float[Tensor, "row frame dim"]) -> Float[Tensor, "row frame dim"]:
        return features + self.conv(F.relu(self.norm(features)).transpose(1, 2)).transpose(1, 2)
