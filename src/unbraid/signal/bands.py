"""Which bins of a spectrum form which band.

A table depends on the number of bins and of bands alone, not on the sampling rate: every scale but `hertz` is fixed by
the ratio of a bin to the highest one.

    musical      equal steps on the scale of musical pitch, from bin 1 to the highest; neighbours overlap about twice
                 (12-TET, as in BandIt: K. N. Watcharasupat et al., "A Generalized Bandsplit Neural Network for
                 Cinematic Audio Source Separation", 2023; used by SFC)
    hertz        ours: the musical bands of 44.1 kHz at their frequencies, at any rate as many as there is sound for
    mel          equal steps on the mel scale, each band reaching to the middles of its neighbours
    uniform      equal steps in Hz, likewise
    bs-roformer  the 62 bands of BS-RoFormer without overlap (W.-T. Lu et al., 2023), for n_fft 2048 at 44.1 kHz
    full         every band holds every bin: no prior about locality
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from unbraid.axes import Bool, Float, Int, Tensor
from unbraid.errors import ConfigError
from unbraid.options import check_option

BandScale = Literal["musical", "hertz", "mel", "uniform", "bs-roformer", "full"]

_BS_ROFORMER_WIDTHS = (24 * (2,), 12 * (4,), 8 * (12,), 8 * (24,), 8 * (48,), (128, 129))
_NYQUIST_HZ = 22_050.0
"""The mel scale needs frequencies; it is drawn as if the highest bin lay here."""


@dataclass(frozen=True)
class BandTable:
    """Half-open bin ranges [start, end), in order of their starts; every bin lies in at least one of them."""

    starts: tuple[int, ...]

    ends: tuple[int, ...]

    num_freqs: int

    centres: tuple[float, ...] = ()
    """Where the scale puts the middle of each band, in bins; low bands that share their bins differ in it. Empty where
    no scale says."""

    @property
    def num_bands(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(end - start for start, end in zip(self.starts, self.ends, strict=True))

    @property
    def middles(self) -> tuple[int, ...]:
        """The middle bin of each band, rounded down."""
        return tuple((start + end) // 2 for start, end in zip(self.starts, self.ends, strict=True))

    def membership(self) -> Bool[Tensor, "band freq"]:
        """Whether a bin lies in a band."""
        freq = torch.arange(self.num_freqs)
        return (freq >= torch.tensor(self.starts)[:, None]) & (freq < torch.tensor(self.ends)[:, None])

    def members(self) -> Int[Tensor, " member"]:
        """The bins of the first band, then those of the second, and so on."""
        return torch.cat([torch.arange(start, end) for start, end in zip(self.starts, self.ends, strict=True)])

    def coverage(self) -> Int[Tensor, " freq"]:
        """In how many bands each bin lies."""
        return self.membership().sum(dim=0)

    def locality(self) -> Float[Tensor, "band freq"]:
        """How near a bin lies to a band: 0 at its middle, falling to -1 at its edges and by 1 per bin beyond.

        The positional prior of SFC's cross-attention (a linear decay after ALiBi, but steeper in narrow bands).
        """
        freq = torch.arange(self.num_freqs)
        starts, ends = torch.tensor(self.starts)[:, None], torch.tensor(self.ends)[:, None]
        middles = torch.tensor(self.middles)[:, None]
        inside = -(middles - freq).abs() / ((ends - starts) // 2 + 1)
        outside = torch.where(freq < starts, freq - starts, ends - 1 - freq).float()
        return torch.where(self.membership(), inside, outside)


def build_bands(scale: BandScale, num_freqs: int, num_bands: int, bin_hz: float | None = None) -> BandTable:
    """The table of a scale for `num_freqs` bins (n_fft / 2 + 1). `hertz` has to know how far they lie apart."""
    check_option("band scale", scale, BandScale)
    if not 2 <= num_bands < num_freqs:
        raise ConfigError(f"{num_bands} bands of {num_freqs} bins: choose at least 2 bands and fewer than bins")
    match scale:
        case "hertz":
            if bin_hz is None:
                raise ConfigError("bands by frequency need to know how far bins lie apart", remedy="give bin_hz")
            return hertz_bands(num_freqs, num_bands, bin_hz)
        case "musical":
            table = musical_bands(num_freqs, num_bands)
        case "mel":
            table = overlapping_bands([_mel_bin(position, num_freqs) for position in _grid(num_bands)], num_freqs)
        case "uniform":
            table = overlapping_bands([position * (num_freqs - 1) for position in _grid(num_bands)], num_freqs)
        case "bs-roformer":
            table = bs_roformer_bands(num_freqs)
        case "full":
            table = BandTable((0,) * num_bands, (num_freqs,) * num_bands, num_freqs)
    if table.num_bands != num_bands:
        raise ConfigError(f"the {scale} split of {num_freqs} bins has {table.num_bands} bands: set num_bands to that")
    return table


def musical_bands(num_freqs: int, num_bands: int) -> BandTable:
    """Bands around middles at equal steps of pitch; each reaches one step of the whole range's `num_bands`-th root
    down and up, rounded outwards to whole bins."""
    highest = num_freqs - 1
    middles = [highest ** (band / (num_bands - 1)) for band in range(num_bands)]
    return _bands_around(middles, highest ** (1 / num_bands), num_freqs)


def hertz_bands(num_freqs: int, num_bands: int, bin_hz: float) -> BandTable:
    """`musical_bands` of 2048 samples at 44.1 kHz, in Hz: `num_bands` up to 22.05 kHz, fewer or more at other rates."""
    lowest, span = 2 * _NYQUIST_HZ / 2048, 1024.0
    middles = []
    while (middle := lowest / bin_hz * span ** (len(middles) / (num_bands - 1))) < num_freqs - 1 + 1e-6:
        middles.append(middle)
    if len(middles) < 2:
        raise ConfigError(f"of {num_bands} bands to 22 kHz, {len(middles)} lie where there is sound: choose more")
    return _bands_around(middles, span ** (1 / num_bands), num_freqs)


def _bands_around(middles: list[float], reach: float, num_freqs: int) -> BandTable:
    highest = num_freqs - 1
    starts = [min(math.floor(middle / reach), highest) for middle in middles]
    ends = [min(math.ceil(middle * reach) + 1, num_freqs) for middle in middles]
    starts[0], ends[-1] = 0, num_freqs
    return BandTable(tuple(starts), tuple(ends), num_freqs, tuple(middles))


def overlapping_bands(middles: list[float], num_freqs: int) -> BandTable:
    """Bands that reach from the middle before to the middle after; `middles` holds one more at either end."""
    starts, ends = [], []
    for before, middle, after in zip(middles, middles[1:], middles[2:], strict=False):
        starts.append(min(math.floor(before), round(middle)))
        ends.append(max(math.ceil(after), round(middle)) + 1)
    starts[0], ends[-1] = 0, num_freqs
    return BandTable(tuple(starts), tuple(ends), num_freqs)


def bs_roformer_bands(num_freqs: int) -> BandTable:
    """BS-RoFormer's widths from 0 Hz upwards as far as there are bins; the last band takes what is left."""
    edges = [0]
    for width in (width for group in _BS_ROFORMER_WIDTHS for width in group):
        if edges[-1] < num_freqs:
            edges.append(min(edges[-1] + width, num_freqs))
    edges[-1] = num_freqs
    return BandTable(tuple(edges[:-1]), tuple(edges[1:]), num_freqs)


def _grid(num_bands: int) -> list[float]:
    """Positions from 0 to 1: the middles of the bands and one more at either end."""
    return [index / (num_bands + 1) for index in range(num_bands + 2)]


def _mel_bin(position: float, num_freqs: int) -> float:
    mel = position * 2595 * math.log10(1 + _NYQUIST_HZ / 700)
    return 700 * (10 ** (mel / 2595) - 1) / _NYQUIST_HZ * (num_freqs - 1)
