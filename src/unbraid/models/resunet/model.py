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

import math
from collections.abc import Collection, Mapping

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import PlaneConv
from unbraid.layers.linear import Linear
from unbraid.layers.norms import BatchNorm, at_least_float32
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.resunet.config import CENTRE, DECODERS, ENCODERS, FRAME_STEP, POOLING, Place, ResUNetConfig
from unbraid.models.resunet.heads import Head, apply_head, maps_per_target, neutral_maps
from unbraid.models.resunet.stages import DecoderStage, Stage
from unbraid.signal.stft import Stft

__all__ = ["ResUNet", "ResUNetConfig", "ResUNetCore"]

_LEAST_POWER = 1e-10
"""Of a bin under the root, as in the released code."""
_LEAST_LEVEL = 1e-15
_FAINT = 0.02


class ResUNet(SeparationModel[ResUNetConfig]):
    """ResUNetDecouple+, for recordings in mono or stereo."""

    def __init__(self, config: ResUNetConfig, core: ResUNetCore | None = None) -> None:
        """`core` is a network with additions of its own; by default the plain one."""
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
        self.core = core or ResUNetCore(config)

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
            nn.Identity() if place in without else Stage(dims[-1], dims[-1], config.units) for place in CENTRE
        )
        outwards = [dims[-1], *dims[::-1]]
        self.decoders = nn.ModuleList(
            DecoderStage(i, o, step, config.units)
            for i, o, step in zip(outwards[:-1], outwards[1:], POOLING[::-1], strict=True)
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
        filled = (num_frames + FRAME_STEP - 1) // FRAME_STEP * FRAME_STEP
        features = F.pad(seen, (0, 0, 0, missing, 0, filled - num_frames))
        features = self.unet(features)[:, :, : num_freqs // config.subbands]
        maps = rearrange(
            self.head(features),
            "batch frame freq (band source channel map) -> batch source channel map band freq frame",
            band=config.subbands,
            source=len(config.sources),
            channel=config.num_channels,
        )
        # Cut behind the linear map and before bands are put in one piece: elsewhere an exported program would ask
        # whether anything is cut, and take either multiples of the step or none.
        return maps[..., :num_frames].flatten(4, 5)

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
        for place, stage, step in zip(ENCODERS, self.encoders, POOLING, strict=True):
            features = self._behind(place, stage(features))
            skips.append(features)
            features = F.avg_pool2d(features.permute(0, 3, 1, 2), step).permute(0, 2, 3, 1)
        for place, stage in zip(CENTRE, self.centre, strict=True):
            features = self._behind(place, stage(features))
        for place, decoder in zip(DECODERS, self.decoders, strict=True):
            features = self._behind(place, decoder(features, skips.pop()))
        return self._behind("last", self.last(features))

    def _behind(self, place: Place, features: Float[Tensor, "batch frame freq dim"]) -> Tensor:
        if place not in self.after:
            return features
        return self.after[place](features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _draw_weights(core: nn.Module) -> None:
    """Xavier for every linear map, biases zero, as the released code begins."""
    for module in core.modules():
        if isinstance(module, Linear | PlaneConv):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in core.modules():
        if isinstance(module, DecoderStage):
            # As of the transposed convolution that it stands for, each of whose taps counts on both sides.
            taps, weight = math.prod(module.step), module.stretch.weight
            bound = math.sqrt(6 / (taps * (weight.shape[1] + weight.shape[0] // taps)))
            nn.init.uniform_(weight, -bound, bound)


def _begin_with_mixture(layer: Linear, head: Head) -> None:
    nn.init.normal_(layer.weight, std=_FAINT * layer.weight.shape[1] ** -0.5)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.view(-1, maps_per_target(head)).copy_(torch.tensor(neutral_maps(head)))
