"""ResUNetDecouple+: a deep residual U-Net that estimates magnitudes and phases apart.

Q. Kong, Y. Cao, H. Liu, K. Choi, Y. Wang, "Decoupling Magnitude and Phase Estimation with Deep ResUNet for Music Source
Separation", ISMIR 2021, arXiv 2109.05418.

    mixture -> STFT -> magnitude -> six encoders -> four centre stages -> six decoders -> maps -> head -> inverse STFT

Each of the 17 stages is four residual units of two convolutions; with those that stretch and the last one, 143.

Deviations, choices in `ResUNetConfig`:
* `level`: the released code takes recordings as loud as they are; we scale each to a mean power of one per bin and the
  estimates back, so that a soft recording is separated like a loud one.
* The released code has InPlace-ABN for the second norm of each unit, whose gain is |weight| + eps; ours are ordinary
  batch norms with the same number of weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.linear import Linear
from unbraid.layers.norms import BatchNorm, at_least_float32
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.resunet.fused_convolution import can_fuse, conv_plus, conv_then_leaky
from unbraid.models.resunet.heads import Head, apply_head, maps_per_target, neutral_maps
from unbraid.options import PositiveFloat, PositiveInt, Range, SampleRate, check_options
from unbraid.signal.stft import Stft
from unbraid.signal.stft import num_frames as stft_frames

_POOLING = ((2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (1, 2))
"""Frames and bins that the encoders average, outermost first; the decoders undo it."""
_FRAME_STEP, _FREQ_STEP = 32, 64
_SLOPE = 0.01
_LEAST_POWER = 1e-10
"""Of a bin under the root, as in the released code."""
_LEAST_LEVEL = 1e-15
_FAINT = 0.02
NUM_CENTRE = 4

Place = Literal["E1", "E2", "E3", "E4", "E5", "E6", "C1", "C2", "C3", "C4", "D1", "D2", "D3", "D4", "D5", "D6", "last"]
"""The stages: encoders, centre, decoders, and the one before the head."""


@dataclass(frozen=True, kw_only=True)
class ResUNetConfig:
    """Settings of the U-Net; the defaults are ResUNetDecouple+ for vocals."""

    sample_rate: SampleRate = 44_100
    """Rate of mixture and estimates, in Hz."""

    num_channels: PositiveInt = 2
    """1 for mono, 2 for stereo."""

    sources: tuple[str, ...] = ("vocals",)
    """Names of the estimates. The paper trains one model per source; several share all but the last layer."""

    exchangeable: bool = False
    """True for speakers, whose order carries no meaning."""

    n_fft: PositiveInt | None = None
    """Samples of the STFT window. None: as long as 2048 samples at 44.1 kHz, to the nearest multiple of 128."""

    hop: PositiveInt | None = None
    """Samples between frames. None: 10 ms."""

    width: PositiveFloat = 1.0
    """Multiplies the channels of all stages."""

    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (32, 64, 128, 256, 384)
    """Of the first five encoders, before `width`; the sixth and the centre have as many as the fifth."""

    units: PositiveInt = 4
    """Residual units of each stage; fewer make a shallower network."""

    norm_momentum: Annotated[float, Range(above=0.0, at_most=1.0)] = 0.01
    """By how much each batch moves what batch norms take for the usual; runs of few steps need more."""

    subbands: Literal[1, 4] = 1
    """4 stacks quarters of the spectrum as channels: a quarter of the work at the same width."""

    input: Literal["magnitude", "complex"] = "magnitude"
    """What the network sees of the mixture."""

    head: Head = "decoupled"
    """How estimates are made from the network's maps; see `models/resunet/heads.py`."""

    level: Literal["normalised", "as-given"] = "normalised"
    """ours: recordings are scaled to a mean power of one per bin. "as-given" leaves them as the released code does."""

    start: Literal["mixture", "random"] = "mixture"
    """ours: an untrained network says "half of the mixture, phase as it is". "random" draws the last layer like all
    others, as the released code does: thousands of steps are then spent on unlearning random phases."""

    chunk_seconds: PositiveFloat = 10.0
    """ours: pieces for long recordings. The released code takes 30 s."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.fft_samples < 16 or self.fft_samples % (2 * self.subbands):
            raise ConfigError(
                f"n_fft is a multiple of {2 * self.subbands} and at least 16, not {self.fft_samples}: choose another"
            )
        if self.hop_samples > self.fft_samples // 2:
            raise ConfigError(f"hop is at most half of n_fft ({self.fft_samples // 2}), not {self.hop_samples}")

    @property
    def fft_samples(self) -> int:
        return self.n_fft or 128 * max(1, round(16 * self.sample_rate / 44_100))

    @property
    def hop_samples(self) -> int:
        return self.hop or max(1, round(self.sample_rate / 100))

    @property
    def dims(self) -> tuple[int, ...]:
        """Features of the six encoders."""
        dims = [max(1, round(self.width * channels)) for channels in self.channels]
        return (*dims, dims[-1])

    def dim_at(self, place: Place) -> int:
        """Features of a stage."""
        dims = self.dims
        if place == "last":
            return dims[0]
        index = int(place[1]) - 1
        return {"E": dims, "C": dims[-1:] * NUM_CENTRE, "D": dims[::-1]}[place[0]][index]

    @property
    def num_bins(self) -> int:
        """Bins of a sub-band as the network sees them: without the topmost, and padded to halve six times."""
        return -(-self.fft_samples // 2 // self.subbands // _FREQ_STEP) * _FREQ_STEP


class ResUNet(SeparationModel):
    """ResUNetDecouple+, for recordings in mono or stereo."""

    def __init__(self, config: ResUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=config.num_channels,
            sources=config.sources,
            exchangeable=config.exchangeable,
            chunk_seconds=config.chunk_seconds,
            level=config.level,
        )
        self.stft = Stft(config.fft_samples, config.hop_samples)
        self.core = self.build_core()

    def build_core(self) -> ResUNetCore:
        return ResUNetCore(self.config)

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        spectrum = self.stft(mixture)
        if self.config.level == "as-given":
            return self.stft.inverse(self.core(spectrum), mixture.shape[-1])
        power = spectrum.square().sum(dim=2).mean(dim=(1, 2, 3))
        scale = power.clamp_min(_LEAST_LEVEL).sqrt()[:, None, None, None, None]
        estimates = self.core(spectrum / scale) * scale.unsqueeze(1)
        return self.stft.inverse(estimates, mixture.shape[-1])


class ResUNetCore(nn.Module):
    """From the spectrum of the mixture to those of the sources, in real numbers."""

    def __init__(
        self,
        config: ResUNetConfig,
        after: Mapping[Place, nn.Module] | None = None,
        without: Collection[Place] = (),
    ) -> None:
        """`after` adds modules of (batch, dim, frame, freq) tensors behind stages, before anything reads them, and
        `without` leaves out stages of the centre."""
        super().__init__()
        dims, outermost = config.dims, config.dims[0]
        parts = config.num_channels * config.subbands * (1 if config.input == "magnitude" else 2)
        maps = len(config.sources) * config.num_channels * config.subbands * maps_per_target(config.head)
        self.config = config
        self.input_norm = BatchNorm(config.fft_samples // 2 + 1)
        self.encoders = nn.ModuleList(Stage(i, o, config.units) for i, o in zip((parts, *dims[:-1]), dims, strict=True))
        self.centre = nn.ModuleList(
            nn.Identity() if f"C{i + 1}" in without else Stage(dims[-1], dims[-1], config.units)
            for i in range(NUM_CENTRE)
        )
        outwards = [dims[-1], *dims[::-1]]
        self.decoders = nn.ModuleList(
            Decoder(i, o, step, config.units)
            for i, o, step in zip(outwards[:-1], outwards[1:], _POOLING[::-1], strict=True)
        )
        self.last = Stage(outermost, outermost, config.units)
        self.head = Linear(outermost, maps)
        _draw_weights(self)
        for norm in (module for module in self.modules() if isinstance(module, BatchNorm)):
            norm.momentum = config.norm_momentum
        if config.start == "mixture":
            _begin_with_mixture(self.head, config.head)
        self.after = nn.ModuleDict({str(place): module for place, module in (after or {}).items()})

    def forward(
        self, spectrum: Float[Tensor, "batch channel part freq frame"]
    ) -> Float[Tensor, "batch source channel part freq frame"]:
        spectrum = at_least_float32(spectrum)
        maps = at_least_float32(self.maps(spectrum))
        # The topmost bin, which the network never sees, stays silent.
        estimates = apply_head(self.config.head, maps, spectrum[..., :-1, :], _LEAST_POWER)
        return F.pad(estimates, (0, 0, 0, 1))

    def maps(
        self, spectrum: Float[Tensor, "batch channel part freq frame"]
    ) -> Float[Tensor, "batch source channel map low_freq frame"]:
        """What the network says of every bin but the topmost."""
        config, num_frames = self.config, spectrum.shape[-1]
        num_freqs = spectrum.shape[-2] - 1
        seen = self._normalised(spectrum)[..., :-1]
        missing = config.num_bins - num_freqs // config.subbands
        seen = rearrange(seen, "batch frame part (band freq) -> batch frame freq (band part)", band=config.subbands)
        # In this form, and not as a remainder, the exporter can follow what becomes of the number of frames.
        filled = (num_frames + _FRAME_STEP - 1) // _FRAME_STEP * _FRAME_STEP
        features = F.pad(seen, (0, 0, 0, missing, 0, filled - num_frames))
        features = self.unet(features)[:, :num_frames, : num_freqs // config.subbands]
        return rearrange(
            self.head(features),
            "batch frame freq (band source channel map) -> batch source channel map (band freq) frame",
            band=config.subbands,
            source=len(config.sources),
            channel=config.num_channels,
        )

    def _normalised(
        self, spectrum: Float[Tensor, "batch channel part freq frame"]
    ) -> Float[Tensor, "batch frame seen freq"]:
        if self.config.input == "magnitude":
            seen = spectrum.square().sum(dim=2).clamp_min(_LEAST_POWER).sqrt()
        else:
            seen = rearrange(spectrum, "batch channel part freq frame -> batch (channel part) freq frame")
        return self.input_norm(rearrange(seen, "batch part freq frame -> batch frame part freq"))

    def unet(self, features: Float[Tensor, "batch frame freq dim_in"]) -> Float[Tensor, "batch frame freq dim_out"]:
        skips = []
        for number, (stage, step) in enumerate(zip(self.encoders, _POOLING, strict=True), start=1):
            features = self._behind(f"E{number}", stage(features))
            skips.append(features)
            features = F.avg_pool2d(features.permute(0, 3, 1, 2), step).permute(0, 2, 3, 1)
        for number, stage in enumerate(self.centre, start=1):
            features = self._behind(f"C{number}", stage(features))
        for number, decoder in enumerate(self.decoders, start=1):
            features = self._behind(f"D{number}", decoder(features, skips.pop()))
        return self._behind("last", self.last(features))

    def _behind(self, place: str, features: Float[Tensor, "batch frame freq dim"]) -> Tensor:
        if place not in self.after:
            return features
        return self.after[place](features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def plane_at(config: ResUNetConfig, place: Place, num_samples: int) -> tuple[int, int]:
    """Frames and bins that a stage sees of so many samples."""
    frames = -(-stft_frames(num_samples, config.hop_samples, config.fft_samples) // _FRAME_STEP) * _FRAME_STEP
    freqs = config.num_bins
    index = 1 if place == "last" else int(place[1])
    halvings = {"l": 0, "E": index - 1, "C": len(_POOLING), "D": len(_POOLING) - index}[place[0]]
    for frame_step, freq_step in _POOLING[:halvings]:
        frames, freqs = frames // frame_step, freqs // freq_step
    return frames, freqs


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


class Decoder(nn.Module):
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


def _draw_weights(core: nn.Module) -> None:
    """Xavier for every linear map, biases zero, as the released code begins."""
    for module in core.modules():
        if isinstance(module, Linear | PlaneConv):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _begin_with_mixture(layer: Linear, head: Head) -> None:
    nn.init.normal_(layer.weight, std=_FAINT * layer.weight.shape[1] ** -0.5)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.view(-1, maps_per_target(head)).copy_(torch.tensor(neutral_maps(head)))


assert len(get_args(Place)) == 2 * len(_POOLING) + NUM_CENTRE + 1
