"""The same weights for another rate or another number of bands: ours, no part of the paper.

What belongs to single bands and bins is read anew. Tables over frequency (`queries="sampled"` or "shared", with a
positional bias that is no matrix) lose nothing by it, and one set of weights serves any rate; with band_scale="hertz" a
band then keeps its frequencies. Learnt queries and a learnt matrix are interpolated over pitch and frequency: the
matrix by what training has added to its initial values.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.models.sfc.compression import CompressionSizes, centres_hz
from unbraid.models.sfc.model import SFC, SFCConfig


def resized(model: SFC, *, sample_rate: int | None = None, num_bands: int | None = None) -> SFC:
    """A model of its own with the weights of this one; raises ConfigError where these belong to their bands.

    The window keeps its duration, to four samples, and bins with it their width.
    """
    old, rate = model.config, sample_rate or model.config.sample_rate
    n_fft = old.n_fft if rate == old.sample_rate else 4 * max(4, round(old.fft_samples * rate / old.sample_rate / 4))
    new = replace(old, sample_rate=rate, n_fft=n_fft, num_bands=num_bands or old.num_bands)
    other = SFC(new).to(next(model.parameters()).device)
    weights, wanted = model.state_dict(), other.state_dict()
    by_band = interpolation(_pitches(old), _pitches(new))
    by_bin = interpolation(_bins(old), _bins(new))
    for name, target in wanted.items():
        value = weights.get(name)
        match name.rpartition("core.")[2]:
            case "encoder.queries.weight" if value is not None and value.ndim == 2:
                value = by_band @ value
            case "decoder.queries.weight" if value is not None:
                value = by_bin @ value
            case "encoder.bias.matrix" | "decoder.bias.matrix" if value is not None:
                learned = value - old.bands.locality().to(value)
                value = new.bands.locality().to(value) + by_band @ learned @ by_bin.T
        if value is None or value.shape != target.shape:
            raise ConfigError(
                f"{name} belongs to the bands it was trained for, which cannot be changed",
                remedy="train with queries=sampled and positional_bias=sampled, or with queries=learnable",
            )
        wanted[name] = value.to(target)
    other.load_state_dict(wanted)
    return other.train(model.training)


def interpolation(known: Float[Tensor, " old"], places: Float[Tensor, " new"]) -> Float[Tensor, "new old"]:
    """The matrix that reads values at increasing places anywhere, on straight lines; level beyond the ends."""
    above = torch.searchsorted(known, places).clamp(1, len(known) - 1)
    share = ((places - known[above - 1]) / (known[above] - known[above - 1])).clamp(0, 1)
    matrix = torch.zeros(len(places), len(known), dtype=known.dtype)
    matrix.scatter_(1, (above - 1)[:, None], (1 - share)[:, None])
    return matrix.scatter_add_(1, above[:, None], share[:, None]).float()


def _pitches(config: SFCConfig) -> Float[Tensor, " band"]:
    """In octaves, increasing by a little at least where bands share their middle."""
    sizes = CompressionSizes(bands=config.bands, bin_hz=config.bin_hz, parts_in=0, parts_out=0, dim=0)
    octaves = centres_hz(sizes).clamp_min(config.bin_hz / 2).log2()
    return octaves + 1e-6 * torch.arange(len(octaves))


def _bins(config: SFCConfig) -> Float[Tensor, " freq"]:
    return torch.arange(config.bands.num_freqs, dtype=torch.float64) * config.bin_hz
