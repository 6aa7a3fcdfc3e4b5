"""What SFC-CA looks at: the attention of its encoder over a recording and over each stem taken from it.

Each of K bands spreads a weight of one over F bins, in every frame and head. Summed over bands that is a spectrogram of
attention: how often a bin is looked at. It follows the input, while a band split would always give the same picture.
How far a weight is gathered is a picture of confidence: of each band in the bins it takes from, and of each bin in the
bands that the decoder reads it back from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.models.contract import SeparationModel
from unbraid.models.sfc.cross_attention import CrossAttentionDecoder, CrossAttentionEncoder
from unbraid.models.sfc.model import SFC
from unbraid.models.super_resolution.wrapper import WithSuperResolution

_FRAMES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """The encoder's attention over one signal."""

    name: str
    """"mixture" or the name of a stem."""

    level_db: np.ndarray
    """(freq, frame): power of the signal, 0 dB where it is highest."""

    received: np.ndarray
    """(head, freq, frame): the weight that a bin gets from all bands together; sums to the number of bands."""

    by_band: np.ndarray
    """(head, band, freq): how each band spreads its weight, the mean over frames."""

    moved: np.ndarray
    """(head, band): the share of its weight that a band has elsewhere than in that mean, 0 to 1, over all frames.

    That of a band split, which cannot follow its input, would be 0."""

    band_confidence: np.ndarray
    """(band, frame): how sure a band is of the bins it takes from: one minus the entropy of its weights over that of
    even ones, the mean over heads. 1: all weight on one bin; 0: spread evenly."""

    bin_confidence: np.ndarray
    """(freq, frame): likewise, how sure a bin is of the bands that it reads back from."""


@dataclass(frozen=True, kw_only=True)
class BiasMap:
    """The positional bias of one half of the model."""

    half: str
    """"encoder" or "decoder"."""

    initial: np.ndarray
    """(band, freq), before training."""

    learned: np.ndarray
    """(head, band, freq)."""


@dataclass(frozen=True, kw_only=True)
class AttentionAnalysis:
    """All that there is to see."""

    maps: tuple[AttentionMap, ...]
    biases: tuple[BiasMap, ...]
    bin_hz: float
    """Distance of two bins."""
    frame_seconds: float
    """Distance of two frames."""


def analyse_attention(model: SeparationModel, mixture: Float[Tensor, "channel sample"]) -> AttentionAnalysis:
    """Separates a mixture and looks at the encoder's attention over it and over every stem that came out.

    Of a model with a post-filter, the stems are what the filter made and the attention is its separator's. Raises
    ConfigError where the model compresses without attention.
    """
    separator = model.separator if isinstance(model, WithSuperResolution) else model
    if not isinstance(separator, SFC) or not isinstance(separator.core.encoder, CrossAttentionEncoder):
        raise ConfigError("this model has no cross-attention to look at", remedy="give one of the kind SFC-CA, or MTFA")
    with torch.inference_mode():
        stems = model(mixture.unsqueeze(0))[0]
        signals = {"mixture": mixture, **dict(zip(model.spec.sources, stems, strict=True))}
        maps = tuple(attention_map(separator, name, signal) for name, signal in signals.items())
    rate, stft = separator.spec.sample_rate, separator.stft
    return AttentionAnalysis(
        maps=maps, biases=tuple(_biases(separator)), bin_hz=rate / stft.n_fft, frame_seconds=stft.hop / rate
    )


def attention_map(model: SFC, name: str, signal: Float[Tensor, "channel sample"]) -> AttentionMap:
    """The encoder's attention over one signal of the model's rate and channels."""
    encoder = model.core.encoder
    assert isinstance(encoder, CrossAttentionEncoder)
    spectrum, _ = model.scaled_spectrum(signal.unsqueeze(0))
    power = spectrum[0].square().sum(dim=(0, 1))
    bins = rearrange(spectrum, "batch channel part freq frame -> batch frame freq (part channel)")
    tokens = encoder.tokens(bins)[0]
    received, by_band, moved, band_confidence = [], torch.zeros(()), torch.zeros(()), []
    for rows in tokens.split(_FRAMES_AT_ONCE):
        weights = encoder.attention(rows)
        received.append(weights.sum(dim=2))
        band_confidence.append(confidence(weights))
        by_band = by_band + weights.sum(dim=0) / len(tokens)
    for rows in tokens.split(_FRAMES_AT_ONCE):  # again, for the mean has to be known; all weights would fill the memory
        elsewhere = (encoder.attention(rows) - by_band).abs().sum(dim=-1) / 2
        moved = moved + elsewhere.sum(dim=0) / len(tokens)
    level = 10 * torch.log10(power / power.max().clamp_min(1e-12) + 1e-12)
    return AttentionMap(
        name=name,
        level_db=level.numpy(),
        received=rearrange(torch.cat(received), "frame head freq -> head freq frame").numpy(),
        by_band=by_band.numpy(),
        moved=moved.numpy(),
        band_confidence=torch.cat(band_confidence).T.numpy(),
        bin_confidence=torch.cat(list(_bin_confidence(model, bins))).T.numpy(),
    )


def _bin_confidence(model: SFC, bins: Float[Tensor, "1 frame freq part"]) -> Iterator[Float[Tensor, "row freq"]]:
    """Of the decoder's attention, some frames at a time."""
    decoder = model.core.decoder
    assert isinstance(decoder, CrossAttentionDecoder)
    bands, memory = model.core.encoder(bins)
    rows = decoder.spread(model.core.separator(bands))[0]
    known = memory[0] if memory is not None else rows
    for some, about in zip(rows.split(_FRAMES_AT_ONCE), known.split(_FRAMES_AT_ONCE), strict=True):
        queries = decoder.queries(about if memory is not None else None)
        yield confidence(decoder.block.weights(queries, some, decoder.bias(transpose=True)))


def confidence(weights: Float[Tensor, "row head query token"]) -> Float[Tensor, "row query"]:
    """One minus the entropy of weights over that of even ones, the mean over heads."""
    entropy = torch.special.entr(weights).sum(dim=-1) / math.log(weights.shape[-1])
    return 1 - entropy.mean(dim=1)


def _biases(model: SFC) -> Iterator[BiasMap]:
    for half, module in (("encoder", model.core.encoder), ("decoder", model.core.decoder)):
        assert isinstance(module, CrossAttentionEncoder | CrossAttentionDecoder)
        learned = module.bias()
        if learned is not None:
            yield BiasMap(
                half=half,
                initial=module.bias.locality.numpy(),
                learned=learned.detach().nan_to_num(neginf=-1e4).numpy(),
            )
