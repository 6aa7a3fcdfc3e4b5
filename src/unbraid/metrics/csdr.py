"""cSDR, "the SDR on MUSDB18": medians over the windows of each song, then the median over songs.

Because a window with one silent source counts for no source of the same call, the score of vocals depends on what they
are scored together with. Three protocols are in use, and papers seldom say which:

| protocol | windows that count for a source |
|---|---|
| single | those where the source itself sounds |
| joint | those where all sources sound: all stems in one call of museval |
| accompaniment | for vocals, those where vocals and the sum of the others sound; for the others, as in joint |

The last is what museval's `eval_mus_track` does when it is given an accompaniment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.metrics.framewise import framewise_sdr
from unbraid.options import check_option

CsdrProtocol = Literal["single", "joint", "accompaniment"]


def csdr(
    estimate: Float[Tensor, "source channel given"],
    reference: Float[Tensor, "source channel sample"],
    sample_rate: int,
    protocol: CsdrProtocol = "single",
    vocals: int | None = None,
) -> Float[Tensor, " source"]:
    """The cSDR of one song in dB: the median over its windows of one second.

    `vocals` is the place of the vocals among the sources, which only the protocol "accompaniment" asks for.
    """
    return median_over_frames(csdr_frames(estimate, reference, sample_rate, protocol, vocals))


def csdr_frames(
    estimate: Float[Tensor, "source channel given"],
    reference: Float[Tensor, "source channel sample"],
    sample_rate: int,
    protocol: CsdrProtocol = "single",
    vocals: int | None = None,
) -> Float[Tensor, "source frame"]:
    """The SDR of each second, nan where the protocol leaves it out."""
    check_option("protocol", protocol, CsdrProtocol)
    frames = framewise_sdr(estimate, reference, sample_rate, joint=protocol != "single")
    if protocol == "accompaniment":
        if vocals is None or not 0 <= vocals < len(reference):
            raise ConfigError(
                f"the protocol 'accompaniment' needs the place of the vocals among {len(reference)} sources, "
                f"not {vocals}: give one or choose another protocol"
            )
        pair = framewise_sdr(against_the_rest(estimate, vocals), against_the_rest(reference, vocals), sample_rate)
        frames[vocals] = pair[0]
    return frames


def against_the_rest(signals: Float[Tensor, "source channel sample"], source: int) -> Float[Tensor, "2 channel sample"]:
    """One source and the sum of all others, such as vocals and accompaniment."""
    others = torch.cat([signals[:source], signals[source + 1 :]])
    return torch.stack([signals[source], others.sum(0)])


def median_over_frames(frames: Float[Tensor, "*axes frame"]) -> Float[Tensor, "*axes"]:
    """The median of the windows that have a finite score, nan where none has.

    inf is left out as museval does when it stores scores. Between two middle values it is their mean, which
    `torch.median` does not give.
    """
    return frames.double().masked_fill(frames.isinf(), torch.nan).nanquantile(0.5, dim=-1)


def median_over_songs(songs: Sequence[Float[Tensor, " source"]]) -> Float[Tensor, " source"]:
    """The median of the songs' values, without those that have none: the row that papers print for each source."""
    return torch.stack(tuple(songs)).double().nanquantile(0.5, dim=0)
