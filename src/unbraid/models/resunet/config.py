"""Settings of the residual U-Net, and the table of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from unbraid.errors import ConfigError
from unbraid.models.resunet.heads import Head
from unbraid.options import PositiveFloat, PositiveInt, Range, SampleRate, check_options
from unbraid.signal.stft import num_frames as stft_frames

Encoding = Literal["E1", "E2", "E3", "E4", "E5", "E6"]
Centre = Literal["C1", "C2", "C3", "C4"]
Decoding = Literal["D1", "D2", "D3", "D4", "D5", "D6"]
Place = Literal[Encoding, Centre, Decoding, "last"]
"""The stages by name: encoders, centre, decoders, and the one before the head."""

ENCODERS: tuple[Encoding, ...] = get_args(Encoding)
CENTRE: tuple[Centre, ...] = get_args(Centre)
DECODERS: tuple[Decoding, ...] = get_args(Decoding)

POOLING = ((2, 2), (2, 2), (2, 2), (2, 2), (2, 2), (1, 2))
"""Frames and bins that the encoders average, outermost first; the decoders undo it."""

DEPTHS: dict[Place, int] = {
    **{place: depth for depth, place in enumerate(ENCODERS)},
    **dict.fromkeys(CENTRE, len(POOLING)),
    **{place: len(POOLING) - 1 - step for step, place in enumerate(DECODERS)},
    "last": 0,
}
"""How often the plane has been pooled where a stage stands: 0 outermost, 6 in the centre."""

FRAME_STEP, FREQ_STEP = 32, 64
"""All pooling together."""


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
        """Features of a stage; the centre has as many as the sixth encoder."""
        return self.dims[min(DEPTHS[place], len(self.dims) - 1)]

    @property
    def num_bins(self) -> int:
        """Bins of a sub-band as the network sees them: without the topmost, and padded to halve six times."""
        return -(-self.fft_samples // 2 // self.subbands // FREQ_STEP) * FREQ_STEP


def plane_at(config: ResUNetConfig, place: Place, num_samples: int) -> tuple[int, int]:
    """Frames and bins that a stage sees of so many samples."""
    frames = -(-stft_frames(num_samples, config.hop_samples, config.fft_samples) // FRAME_STEP) * FRAME_STEP
    freqs = config.num_bins
    for frame_step, freq_step in POOLING[: DEPTHS[place]]:
        frames, freqs = frames // frame_step, freqs // freq_step
    return frames, freqs
