"""Examples drawn from measured stems: moments of one song, or sources from anywhere, each varied on its way.

All happens to powers in bands. What makes clean renders less clean is as cheap there as anywhere: colour is a gain for
each band, a room adds what rings on from earlier frames and is unlike on both sides, compression is a gain for each
frame, and a band-limited recording ends at one band.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from benchmarks.training.band_training.measure import (
    HOP,
    N_FFT,
    RATE,
    SOURCES,
    VOICES,
    edges_of,
    is_rendered,
    join_description,
    widths_of,
)

SLOTS = (*SOURCES, "accompaniment")
RECORDED = "recorded"
RECORDED_SHARES = {"vocals": 1.0, "drums": 0.5, "bass": 0.2, "other": 0.4, "accompaniment": 1.0}
"""How often a stem that is drawn by itself is a recorded one. The two recorded basses are as short and as deep as bass
drums, so that they are rare."""
CHOPPED_SHARE = 0.2
"""Of the vocals, in which one syllable is repeated."""
VOICE_LIMIT_HZ = 7500.0
"""Recorded speech ends below: a mixture with it does so as well, or its end would tell the voice."""


class Stems:
    """All measured stems in memory, by collection and song: recorded, voices, and one for every sound font."""

    def __init__(self, bands: Path, num_bands: int, kept: dict[Path, np.ndarray]) -> None:
        """`kept` holds what has been read before."""
        self.num_bands = num_bands
        self.songs: dict[str, list[dict[str, np.ndarray]]] = {}
        for folder in sorted((bands / "train").iterdir()):
            paths = [path for path in folder.glob("*.npy") if "partial" not in path.name]
            for path in paths:
                if path not in kept:
                    kept[path] = join_description(np.load(path), num_bands).astype(np.float16)
            kind = folder.name.split(".")[0]
            collection = kind if is_rendered(kind) or kind == VOICES else RECORDED
            if paths:
                self.songs.setdefault(collection, []).append({path.stem: kept[path] for path in paths})

    def draw(self, rng: np.random.Generator, recorded_share: float, stem: str | None = None) -> dict[str, np.ndarray]:
        """A song that has the stem: recorded with this probability, else of any sound font."""
        rendered = [name for name in self.songs if is_rendered(name)]
        while True:
            recorded = not rendered or rng.random() < recorded_share
            songs = self.songs[RECORDED if recorded else rendered[rng.integers(len(rendered))]]
            song = songs[rng.integers(len(songs))]
            if stem is None or stem in song:
                return song

    def draw_vocals(self, rng: np.random.Generator, voice_share: float) -> tuple[np.ndarray, bool]:
        """Somebody who sings, or speaks with this probability; and whether it is speech."""
        if VOICES in self.songs and rng.random() < voice_share:
            voices = self.songs[VOICES]
            return voices[rng.integers(len(voices))]["vocals"], True
        return self.draw(rng, 1.0, "vocals")["vocals"], False


def cut(stem: np.ndarray, start: int, frames: int) -> np.ndarray:
    piece = np.zeros((frames, *stem.shape[1:]), np.float32)
    piece[: max(0, len(stem) - start)] = stem[start : start + frames]
    return piece


def cut_active(stem: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Somewhere it sounds, if six tries find that."""
    for _ in range(6):
        piece = cut(stem, int(rng.integers(max(1, len(stem) - frames))), frames)
        if np.square(piece[..., :2]).mean() > 1e-4:
            break
    return piece


def draw_example(stems: Stems, rng: np.random.Generator, frames: int, voice_share: float) -> tuple[np.ndarray, bool]:
    """(source, frame, band, 3): every source after its variations; and whether `other` is all of an accompaniment,
    bass included.

    One half are moments of one song at about its levels, the other sources from anywhere at levels up to 18 dB apart. A
    song without a singer gets one four times of five. Of ten songs with a singer one is heard without instruments.
    """
    drawn = np.zeros((len(SLOTS), frames, stems.num_bands, 3), np.float32)
    coherent, spoken = rng.random() < 0.5, False
    if coherent:
        song = stems.draw(rng, 0.5)
        start = int(rng.integers(max(1, max(len(values) for values in song.values()) - frames)))
        for stem, values in song.items():
            drawn[SLOTS.index(stem)] = cut(values, start, frames)
        if "vocals" not in song and rng.random() < 0.8:
            vocals, spoken = stems.draw_vocals(rng, voice_share)
            drawn[0] = at_level(
                cut_active(vocals, frames, rng), math.hypot(*map(level_of, drawn)) * rng.uniform(0.3, 1.2)
            )
    else:
        left_out = {"bass", "other"} if rng.random() < 0.2 else {"accompaniment"}
        for slot, stem in enumerate(SLOTS):
            if stem in left_out or rng.random() < (0.3 if stem in ("bass", "accompaniment") else 0.12):
                continue
            if stem == "vocals":
                values, spoken = stems.draw_vocals(rng, voice_share)
            else:
                values = stems.draw(rng, RECORDED_SHARES[stem], stem)[stem]
            drawn[slot] = at_level(cut_active(values, frames, rng), 30.0)
    alone = coherent and rng.random() < 0.1
    for slot, piece in enumerate(drawn):
        if coherent and ((alone and slot > 0) or rng.random() < 0.12):
            piece[:] = 0
        elif level_of(piece) > 1e-3:
            chopped = slot == 0 and rng.random() < CHOPPED_SHARE
            if chopped:
                chop(piece, rng)
            room_share = 0.6 if chopped or (slot == 0 and spoken) else 0.1 if slot == 1 else 0.25
            vary(piece, 6.0 if coherent else 9.0, room_share, rng)
    limit = VOICE_LIMIT_HZ if spoken else 10 ** rng.uniform(3.7, 4.3) if rng.random() < 0.15 else RATE / 2
    drawn[:, :, first_band_above(limit, stems.num_bands) :, :2] = 0
    if merged := bool(drawn[4].any()):
        drawn[3] = drawn[4]
    return drawn[:4], merged


def level_of(piece: np.ndarray) -> float:
    """Root of the mean power of a frame."""
    return math.sqrt(float((np.square(piece[..., :2]).sum(-1) @ widths_of(piece.shape[-2])).mean()))


def at_level(piece: np.ndarray, level: float) -> np.ndarray:
    piece[..., :2] *= level / max(level_of(piece), 1e-3)
    return piece


def first_band_above(frequency: float, num_bands: int) -> int:
    return int(np.searchsorted(edges_of(num_bands) * RATE / N_FFT, frequency))


def vary(piece: np.ndarray, spread_db: float, room_share: float, rng: np.random.Generator) -> None:
    """Level, colour, room, dynamics, balance and exchange of the sides, in place; (frame, band, 3)."""
    if rng.random() < room_share:
        reverberate(piece, rng)
    if rng.random() < 0.25:
        compress(piece, float(rng.uniform(0.1, 0.5)))
    curve = np.full(piece.shape[1], 10 ** (rng.uniform(-spread_db, spread_db) / 20))
    if rng.random() < 0.6:
        places = np.linspace(-1, 1, piece.shape[1])
        tilt, middle, width, hump = rng.normal(0, 3), rng.uniform(-1, 1), rng.uniform(0.1, 0.5), rng.normal(0, 4)
        curve *= 10 ** ((tilt * places + hump * np.exp(-0.5 * ((places - middle) / width) ** 2)) / 20)
    piece[..., :2] *= curve[:, None].astype(np.float32)
    if rng.random() < 0.3:
        piece[..., :2] *= (10 ** (rng.normal(0, 2, 2) / 20)).astype(np.float32)
    if rng.random() < 0.5:
        piece[..., :2] = piece[..., 1::-1]


def chop(piece: np.ndarray, rng: np.random.Generator) -> None:
    """One syllable, a tenth to half a second long, again and again in time, as producers cut up a voice; in place."""
    power = np.square(piece[..., :2]).mean((1, 2))
    begin = int(rng.choice(np.flatnonzero(power >= power.mean())))
    syllable = piece[begin : begin + int(rng.integers(4, 22))].copy()
    beat = len(syllable) + int(rng.integers(0, 16))
    piece[:] = 0
    for place in range(int(rng.integers(0, beat)), len(piece), beat):
        if rng.random() < 0.75:
            piece[place : place + len(syllable)] = syllable[: len(piece) - place]


def reverberate(piece: np.ndarray, rng: np.random.Generator) -> None:
    """Adds a room: powers ring on for 0.3 to 2 s, 3 to 20 dB below the direct sound, and not alike on both sides."""
    decay = 10 ** (-6 * HOP / RATE / 10 ** rng.uniform(math.log10(0.3), math.log10(2.0)))
    direct = np.square(piece[..., :2])
    mono = direct.mean(-1, keepdims=True)
    ringing = lfilter([0.0, 1 - decay], [1.0, -decay], mono, axis=0) * 10 ** (-rng.uniform(3, 20) / 10)
    powers = direct + ringing.astype(np.float32)
    shared = piece[..., 2] * piece[..., 0] * piece[..., 1]
    piece[..., 2] = shared / np.sqrt(powers.prod(-1) + 1e-20)
    piece[..., :2] = np.sqrt(powers)


def compress(piece: np.ndarray, amount: float) -> None:
    """Turns loud frames down and quiet ones up, by this share of their distance from the mean in dB."""
    power = np.square(piece[..., :2]).sum(-1) @ widths_of(piece.shape[1])
    smooth = np.convolve(np.pad(power, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    relative = smooth / max(float(smooth.mean()), 1e-12)
    piece[..., :2] *= (np.clip(relative, 1e-3, 1e3) ** (-amount / 2))[:, None, None].astype(np.float32)
