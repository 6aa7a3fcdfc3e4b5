"""Which speaker each channel is for, and the orders in which containers keep channels.

Everywhere in unbraid channels are in the order of WAVE, that is, of the bits of its channel mask.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_BITS = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
"""Speakers by the bit that stands for them (Microsoft, WAVEFORMATEXTENSIBLE)."""

USUAL_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
"""By the number of channels, the speakers that Vorbis, Opus and FLAC define."""

_FROM_VORBIS = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
"""For each channel of WAVE, its place in Ogg: there the centre is second and the deep bass last (Vorbis I, 4.3.9)."""


def from_vorbis(samples: np.ndarray) -> np.ndarray:
    """(channel, sample) in the order of Ogg Vorbis, put into that of WAVE; other counts than 3 to 8 stay."""
    order = _FROM_VORBIS.get(samples.shape[0])
    return samples if order is None else samples[list(order)]


def to_vorbis(samples: np.ndarray) -> np.ndarray:
    """(channel, sample) in the order of WAVE, put into that of Ogg Vorbis."""
    order = _FROM_VORBIS.get(samples.shape[0])
    return samples if order is None else samples[np.argsort(order)]


def mask_of(speakers: Iterable[str]) -> int | None:
    """The channel mask of speakers in FFmpeg's words; None where WAVE has no bit for one or not this order."""
    bits = []
    for name in speakers:
        if name not in _BITS:
            return None
        bits.append(_BITS.index(name))
    if bits != sorted(set(bits)):
        return None
    return sum(1 << bit for bit in bits)
