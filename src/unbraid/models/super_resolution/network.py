"""The super-resolution network of SFSRNet: it looks at the mixture once more and mends the estimates of a separator.

J. Rixen, M. Renz, "SFSRNet: Super-resolution for Single-Channel Audio Source Separation", AAAI 2022,
doi 10.1609/aaai.v36i10.21372.

    mixture, estimates -> STFT -> magnitudes (+ guessed high bands) -> 4 x (convolution, ReLU, norm) -> residuals
    estimate + inverse STFT of (residual with the estimate's phase) -> refined estimate

Separators whose encoder has a large stride are cheap and lose what is fast; this puts it back. It does not change the
sampling rate.

The paper leaves open, hence choices in `SuperResolutionConfig`:
* norm and last activation: channels are normalised in each bin after stages 1 to 3, and the last stage is linear, so
  that residuals may also be negative; what comes out stays above zero.
* which way the ratio of the guessed high band goes, where the band is split, and what a silent estimate does to it.
* ours: both signals are divided by the mixture's RMS magnitude before the network and multiplied after it, so that
  levels carry through; norms have no scale and shift of their own, since the next convolution has them.
* ours: `correction="complex"`, the next step that the authors name, also turns the phase.

Stereo: each channel is refined on its own, as if it were another recording of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.norms import at_least_float32
from unbraid.models.super_resolution.fft_convolution import Method, PlaneConv2d
from unbraid.options import PositiveFloat, PositiveInt, Range, check_options
from unbraid.signal.stft import Stft, complex_product

# Of the mixture's RMS magnitude. An estimate weaker than this in a bin has no phase to speak of, and the residual
# fades out there; so gradients through phases stay bounded.
_LEAST_MAGNITUDE = 1e-4
_LEAST_SCALE = 1e-8
_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class SuperResolutionConfig:
    """Settings of the network; the defaults are the paper's (6,666,626 parameters for two sources)."""

    window_ms: PositiveFloat = 32.0
    """Length of the STFT's Hann window, to the nearest multiple of 64 samples (256 at 8 kHz); it advances by a quarter
    of it."""

    hidden_dims: tuple[PositiveInt, ...] = (128, 256, 128)
    """Channels after each convolution but the last, which gives one (magnitude) or two (complex) per source."""

    kernel_sizes: tuple[PositiveInt, ...] = (5, 9, 11, 11)
    """Bins and frames that each convolution sees; odd."""

    heuristic: Literal["mixture-over-estimate", "estimate-over-mixture", "none"] = "mixture-over-estimate"
    """The guessed high band: that of the mixture, times the ratio of the low bands, frame by frame. As in the paper's
    figure, the other way round, or left out."""

    split: Annotated[float, Range(above=0.0, below=1.0)] = 0.5
    """Where the high band begins, as a share of the band: 0.5 is bin 64 of 129, 2 kHz at a rate of 8 kHz."""

    ratio_eps: PositiveFloat = 1e-5
    """Added to the sum of magnitudes that is divided by, with the mixture's RMS magnitude as the unit."""

    ratio_cap: PositiveFloat | None = 100.0
    """ours: the ratio is at most so large, which it is where an estimate pauses; None for no bound."""

    norm: Literal["channel", "global", "none"] = "channel"
    """After each stage but the last, over the channels of a bin or over channels, bins and frames."""

    last_activation: Literal["linear", "relu"] = "linear"
    """"relu" can only make magnitudes larger, unless `last_norm` follows it."""

    last_norm: Literal["none", "global"] = "none"
    """After the last stage: none, or over sources, bins and frames together, with a scale and a shift for each source,
    as in MedleyVox (C.-B. Jeon et al., 2023), whose residuals have either sign by that."""

    correction: Literal["magnitude", "complex"] = "magnitude"
    """What a residual is: a magnitude with the estimate's phase, or ours: a complex number relative to that phase, seen
    by a network that is also given the mixture relative to each estimate's phase."""

    convolution: Method = "auto"
    """How convolutions are computed, equal to rounding: "direct", "fft", or each in whichever way is faster."""

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.kernel_sizes) != len(self.hidden_dims) + 1:
            raise ConfigError(
                f"kernel_sizes has one entry more than hidden_dims, not {len(self.kernel_sizes)} for "
                f"{len(self.hidden_dims)}"
            )
        if any(size % 2 == 0 for size in self.kernel_sizes):
            raise ConfigError(f"kernel_sizes are odd so that bins keep their place, not {self.kernel_sizes}")
        if self.correction == "complex" and self.last_activation == "relu":
            raise ConfigError('correction="complex" has residuals of either sign: choose last_activation="linear"')

    def window_samples(self, sample_rate: int) -> int:
        return 64 * max(1, round(self.window_ms * sample_rate / 64_000))


class SuperResolution(nn.Module):
    """Mends estimates: mixture and estimates in, better estimates out, of the same shape and level."""

    def __init__(self, config: SuperResolutionConfig, sample_rate: int, num_sources: int) -> None:
        super().__init__()
        self.config = config
        window = config.window_samples(sample_rate)
        self.stft = Stft(window, window // 4)
        self.split_bin = round(config.split * (self.stft.num_freqs - 1))
        is_complex = config.correction == "complex"
        self.last_norm = nn.GroupNorm(1, num_sources * (1 + is_complex)) if config.last_norm == "global" else None
        dim_in = 1 + num_sources * (1 + (config.heuristic != "none") + 2 * is_complex)
        dims = (dim_in, *config.hidden_dims, num_sources * (1 + is_complex))
        self.stages = nn.ModuleList(
            PlaneConv2d(dims[stage], dims[stage + 1], size, config.convolution)
            for stage, size in enumerate(config.kernel_sizes)
        )
        last = self.stages[-1]
        assert isinstance(last, nn.Conv2d)
        # ours: a network that has learned nothing yet should leave a good separator's estimates nearly alone.
        with torch.no_grad():
            last.weight.mul_(0.01)
            assert last.bias is not None
            last.bias.zero_()
            if self.last_norm is not None:
                self.last_norm.weight.fill_(0.01)

    def forward(
        self,
        mixture: Float[Tensor, "batch channel sample"],
        estimates: Float[Tensor, "batch source channel sample"],
    ) -> Float[Tensor, "batch source channel sample"]:
        exact, num_channels = at_least_float32(estimates), mixture.shape[1]
        heard = self.stft(rearrange(at_least_float32(mixture), "batch channel sample -> (batch channel) 1 sample"))
        found = self.stft(rearrange(exact, "batch source channel sample -> (batch channel) source sample"))
        power = heard.square().sum(2).mean((1, 2, 3)).clamp_min(_LEAST_SCALE**2)
        scale = power.sqrt()[:, None, None, None, None]
        residual = self.residual(heard / scale, found / scale) * scale
        change = self.stft.inverse(residual, mixture.shape[-1])
        change = rearrange(change, "(batch channel) source sample -> batch source channel sample", channel=num_channels)
        return (exact + change).to(estimates.dtype)

    def residual(
        self, mixture: Float[Tensor, "row 1 part freq frame"], estimates: Float[Tensor, "row source part freq frame"]
    ) -> Float[Tensor, "row source part freq frame"]:
        """What is to be added to the estimates' spectra."""
        magnitudes = magnitude(estimates)
        phases = estimates / (magnitudes + _LEAST_MAGNITUDE).unsqueeze(2)
        known = [magnitude(mixture), magnitudes]
        if self.config.heuristic != "none":
            known.append(self.guessed_high_band(*known))
        if self.config.correction == "complex":
            known.append(complex_product(mixture, conjugate(phases)).flatten(1, 2))
        out = at_least_float32(self.convolved(torch.cat(known, dim=1)))
        if self.config.correction == "complex":
            return complex_product(out.unflatten(1, (-1, 2)), phases)
        return torch.maximum(out, -magnitudes).unsqueeze(2) * phases

    def guessed_high_band(
        self, mixture: Float[Tensor, "row 1 freq frame"], estimates: Float[Tensor, "row source freq frame"]
    ) -> Float[Tensor, "row source freq frame"]:
        """The mixture's high band, divided among the estimates by what is in their low bands; zero below.

        As the paper draws it, the quieter an estimate is in its low band, the louder its guess.
        """
        low, high = mixture[:, :, : self.split_bin], mixture[:, :, self.split_bin :]
        above, below = low.sum(2, keepdim=True), estimates[:, :, : self.split_bin].sum(2, keepdim=True)
        if self.config.heuristic == "estimate-over-mixture":
            above, below = below, above
        ratio = above / (below + self.config.ratio_eps)
        if self.config.ratio_cap is not None:
            ratio = ratio.clamp_max(self.config.ratio_cap)
        return F.pad(ratio * high, (0, 0, self.split_bin, 0))

    def convolved(self, planes: Float[Tensor, "row channel freq frame"]) -> Float[Tensor, "row out freq frame"]:
        # Norms over channels need them side by side, and convolutions on a CPU are no slower so.
        planes = planes.contiguous(memory_format=torch.channels_last)
        for stage in self.stages[:-1]:
            planes = self.normalised(F.relu(stage(planes)))
        last = self.stages[-1](planes)
        if self.config.last_activation == "relu":
            last = F.relu(last)
        return last if self.last_norm is None else self.last_norm(last)

    def normalised(self, planes: Float[Tensor, "row channel freq frame"]) -> Float[Tensor, "row channel freq frame"]:
        match self.config.norm:
            case "channel":
                last = F.layer_norm(planes.permute(0, 2, 3, 1), planes.shape[1:2], eps=_NORM_EPS)
                return last.permute(0, 3, 1, 2)
            case "global":
                return F.layer_norm(planes, planes.shape[1:], eps=_NORM_EPS)
            case "none":
                return planes


def magnitude(spectrum: Float[Tensor, "*axes 2 freq frame"]) -> Float[Tensor, "*axes freq frame"]:
    """Absolute values, whose gradient at zero is zero."""
    return spectrum.square().sum(-3).clamp_min(_LEAST_SCALE**2).sqrt()


def conjugate(spectrum: Float[Tensor, "*axes 2 freq frame"]) -> Float[Tensor, "*axes 2 freq frame"]:
    real, imaginary = spectrum.unbind(-3)
    return torch.stack([real, -imaginary], dim=-3)
