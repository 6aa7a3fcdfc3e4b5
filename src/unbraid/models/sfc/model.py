"""SFC: spectral feature compression around a separator.

K. Saijo, Y. Bando, "Input-Adaptive Spectral Feature Compression by Sequence Modeling for Source Separation",
IEEE TASLP 2026, arXiv 2602.08671.

    mixture -> STFT -> encoder (F bins to K bands) -> separator -> decoder (K bands to F bins) -> masks
            -> masks x mixture -> inverse STFT -> estimates

Three encoders and decoders are interchangeable: cross-attention (SFC-CA), Mamba (SFC-Mamba), band split (BS, the
baseline); so are the separators. The mixture is scaled to a mean power of one per bin, and the estimates back.

Deviations, choices in `SFCConfig`:
* `frames`: the released code leaves out the last frame of the STFT, so that the end of a chunk hangs on the tail of one
  window; "all" is our default.
* `n_fft`: at other rates than 44.1 kHz the window keeps its duration, hence bins their width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from einops import rearrange
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.norms import at_least_float32
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.sfc.band_split import BandSplitConfig, BandSplitDecoder, BandSplitEncoder
from unbraid.models.sfc.compression import CompressionSizes, Decoder, Encoder, share_table
from unbraid.models.sfc.cross_attention import CrossAttentionConfig, CrossAttentionDecoder, CrossAttentionEncoder
from unbraid.models.sfc.dual_path import DualPath, DualPathConfig
from unbraid.models.sfc.filterbank import FilterbankConfig, FilterbankDecoder, FilterbankEncoder
from unbraid.models.sfc.locoformer import LocoformerConfig, TFLocoformer
from unbraid.models.sfc.mamba import MambaCompressionConfig, MambaDecoder, MambaEncoder
from unbraid.models.sfc.uncompressed import UncompressedConfig, UncompressedDecoder, UncompressedEncoder
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options
from unbraid.signal.bands import BandScale, BandTable, build_bands
from unbraid.signal.stft import Stft, complex_product, in_planes, power_spectrum

CompressionConfig = (
    CrossAttentionConfig | MambaCompressionConfig | BandSplitConfig | UncompressedConfig | FilterbankConfig
)
CoreConfig = LocoformerConfig | DualPathConfig

_COMPRESSORS: dict[type[CompressionConfig], tuple[Callable[..., Encoder], Callable[..., Decoder]]] = {
    CrossAttentionConfig: (CrossAttentionEncoder, CrossAttentionDecoder),
    MambaCompressionConfig: (MambaEncoder, MambaDecoder),
    BandSplitConfig: (BandSplitEncoder, BandSplitDecoder),
    UncompressedConfig: (UncompressedEncoder, UncompressedDecoder),
    FilterbankConfig: (FilterbankEncoder, FilterbankDecoder),
}
_CORES: dict[type[CoreConfig], type[nn.Module]] = {LocoformerConfig: TFLocoformer, DualPathConfig: DualPath}
_LEAST_POWER = 1e-15


@dataclass(frozen=True, kw_only=True)
class SFCConfig:
    """Settings of SFC; the defaults are the small SFC-CA for the stems of music."""

    sample_rate: SampleRate = 44_100
    """Rate of mixture and estimates, in Hz."""

    num_channels: PositiveInt = 2
    """1 for mono, 2 for stereo."""

    sources: tuple[str, ...] = ("bass", "drums", "vocals", "other")
    """Names of the stems, in the order of the estimates."""

    exchangeable: bool = False
    """True for speakers, whose order carries no meaning."""

    n_fft: PositiveInt | None = None
    """Samples of the STFT window, which advances by a quarter. None: as long as 2048 samples at 44.1 kHz (46 ms), to
    the nearest multiple of 256."""

    band_scale: BandScale = "musical"
    """Where bands lie; "full" removes the prior that bands are local. "hertz" is ours: a band has the same frequencies
    at every rate."""

    num_bands: PositiveInt = 64
    """With band_scale="hertz" so many up to 22.05 kHz, and at other rates as many of them as there is sound for."""

    compression: CompressionConfig = field(default_factory=CrossAttentionConfig)

    separator: CoreConfig = field(default_factory=LocoformerConfig)

    estimate: Literal["mask", "spectrum"] = "mask"
    """Whether the decoder's output is multiplied with the mixture or taken as it is."""

    scaling: Literal["together", "each-channel"] = "together"
    """Whether the channels of a mixture are scaled to a mean power of one together, or each on its own as
    BS-Locoformer does it."""

    frames: Literal["all", "released"] = "all"
    """All frames of the STFT, or without the last as in the released code."""

    chunk_seconds: PositiveFloat = 12.0
    """Pieces for long recordings, as in the paper's evaluation."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.fft_samples < 16 or self.fft_samples % 4:
            raise ConfigError(f"n_fft is a multiple of 4 and at least 16, not {self.n_fft}")
        if isinstance(self.compression, FilterbankConfig) and self.estimate == "spectrum":
            raise ConfigError('the filterbank gives real masks: leave estimate at "mask"')

    @property
    def fft_samples(self) -> int:
        return self.n_fft or 256 * max(1, round(8 * self.sample_rate / 44_100))

    @property
    def bands(self) -> BandTable:
        num_freqs = self.fft_samples // 2 + 1
        if isinstance(self.compression, UncompressedConfig):
            return BandTable(tuple(range(num_freqs)), tuple(range(1, num_freqs + 1)), num_freqs)
        return build_bands(self.band_scale, num_freqs, self.num_bands, self.bin_hz)

    @property
    def bin_hz(self) -> float:
        """Distance of two bins."""
        return self.sample_rate / self.fft_samples


class SFC(SeparationModel[SFCConfig]):
    """SFC-CA, SFC-Mamba or BS around a separator, for recordings in mono or stereo."""

    def __init__(self, config: SFCConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=config.num_channels,
            sources=config.sources,
            exchangeable=config.exchangeable,
            chunk_seconds=config.chunk_seconds,
        )
        self.stft = Stft(config.fft_samples, config.fft_samples // 4)
        self.core = SFCCore(config)

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        spectrum, scale = self.scaled_spectrum(mixture)
        estimates = self.stft.inverse(self.core(spectrum), mixture.shape[-1])
        return estimates * scale[..., 0].unsqueeze(1).flatten(-2)

    def scaled_spectrum(
        self, mixture: Float[Tensor, "batch channel sample"]
    ) -> tuple[Float[Tensor, "batch channel part freq frame"], Float[Tensor, "batch scaled 1 1 1"]]:
        """The spectrum with a mean power of one, and what it was divided by."""
        spectrum = self.stft(mixture)
        if isinstance(self.config.compression, FilterbankConfig):  # whose masks are real
            spectrum = in_planes(spectrum)
        over = (1, 2, 3) if self.config.scaling == "together" else (2, 3)
        power = power_spectrum(spectrum).clamp_min(_LEAST_POWER)
        scale = power.mean(dim=over, keepdim=True).sqrt().unsqueeze(2)
        if self.config.frames == "released":
            spectrum = spectrum[..., : max(1, mixture.shape[-1] // self.stft.hop)]
        return spectrum / scale, scale


class SFCCore(nn.Module):
    """From the spectrum of the mixture to those of the sources, in real numbers."""

    def __init__(self, config: SFCConfig) -> None:
        super().__init__()
        num_channels, num_sources = config.num_channels, len(config.sources)
        sizes = CompressionSizes(
            bands=config.bands,
            bin_hz=config.bin_hz,
            parts_in=2 * num_channels,
            parts_out=2 * num_sources * num_channels,
            dim=config.separator.dim,
        )
        build_encoder, build_decoder = _COMPRESSORS[type(config.compression)]
        self.estimate, self.num_sources = config.estimate, num_sources
        self.encoder = build_encoder(sizes, config.compression)
        self.separator = _CORES[type(config.separator)](config.separator)
        self.decoder = build_decoder(sizes, config.compression)
        if getattr(config.compression, "queries", "") == "shared":
            share_table(self.encoder.queries, self.decoder.queries)

    def forward(
        self, spectrum: Float[Tensor, "batch channel part freq frame"]
    ) -> Float[Tensor, "batch source channel part freq frame"]:
        bins = rearrange(spectrum, "batch channel part freq frame -> batch frame freq (part channel)")
        bands, memory = self.encoder(bins)
        decoded = self.decoder(self.separator(bands), memory)
        estimates = rearrange(
            at_least_float32(decoded),
            "batch frame freq (part source channel) -> batch source channel part freq frame",
            part=self.decoder.parts,
            source=self.num_sources,
        )
        if self.estimate == "spectrum":
            return estimates
        mixture = spectrum.unsqueeze(1)
        return mixture * estimates if self.decoder.parts == 1 else complex_product(estimates, mixture)
