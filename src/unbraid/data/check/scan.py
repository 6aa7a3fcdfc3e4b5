"""Listens to all of an item: what its files really hold, and whether the mixture is the sum of its sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import inf, log10
from threading import Event

import numpy as np

from unbraid.audio.decode.headers import find_truncation
from unbraid.data.clips import is_read_from_start, read_samples, to_channels
from unbraid.data.items import Clip, Item, Split
from unbraid.errors import DataError

_BLOCK_SAMPLES = 2**19
"""About 12 s at 44.1 kHz: what a seek costs vanishes, and eight stems fit into memory."""

_FULL_SCALE = 0.9999
_CLIPPED_RUN = 3
"""So many samples in a row at full scale are a flattened peak; one alone may be a peak."""


@dataclass(frozen=True)
class ClipFacts:
    """What one clip holds."""

    source: str
    """Or "mixture"."""
    clip: Clip
    num_samples: int
    """That were there to read; may be fewer than the header promised."""
    peak: float
    """Largest magnitude; 1 is full scale."""
    rms: float
    clipped_samples: int
    """Inside runs at full scale."""
    bad_samples: int
    """NaN or infinite."""
    digest: str
    """Of the samples in 16 bits, the same whatever lossless format they are in; empty for digital silence."""
    trouble: str = ""
    """Why it cannot be read to its end, else empty."""
    truncation: str = ""
    """What its header promises beyond what is on disk, else empty."""


@dataclass(frozen=True)
class ItemScan:
    """What one item holds."""

    split: Split
    item: Item
    clips: tuple[ClipFacts, ...]
    difference_db: float | None = None
    """Level of (mixture - sum of the sources) relative to the mixture; None where that cannot be said."""
    gain: float | None = None
    """By which the sum of the sources comes nearest to the mixture."""
    difference_after_gain_db: float | None = None


def scan_item(split: Split, item: Item, sums: bool = True, stop: Event | None = None) -> ItemScan:
    """Reads every sample of an item once. With `sums` False the mixture is not compared with its sources.

    When `stop` is set it ends early, and what it gives then means nothing.
    """
    named = [(source, clip) for source, clips in item.sources.items() for clip in clips]
    if item.mixture is not None:
        named.append(("mixture", item.mixture))
    meters = [_Meter(source, clip) for source, clip in named]
    comparable = sums and item.mixture is not None and bool(item.sources)
    comparable = comparable and len({clip.sample_rate for _, clip in named}) == 1
    comparison = _Comparison()
    length = max((clip.num_samples for _, clip in named), default=0)
    block = _BLOCK_SAMPLES
    if any(is_read_from_start(clip) for _, clip in named):
        block = max(length, 1)
    for start in range(0, length, block):
        if stop is not None and stop.is_set():
            break
        pieces = [meter.read(start, min(block, length - start)) for meter in meters]
        if comparable:
            comparable = comparison.add(pieces[-1], pieces[:-1])
    facts = tuple(meter.facts() for meter in meters)
    if not comparable or any(fact.trouble for fact in facts):
        return ItemScan(split, item, facts)
    return ItemScan(split, item, facts, *comparison.result())


class _Meter:
    """Follows one clip from its start to its end."""

    def __init__(self, source: str, clip: Clip) -> None:
        self.source, self.clip = source, clip
        self.peak, self.energy, self.clipped, self.bad, self.count = 0.0, 0.0, 0, 0, 0
        self.trouble = ""
        self.sounding = False
        self.hash = hashlib.blake2b(digest_size=16)

    def read(self, start: int, num_samples: int) -> np.ndarray:
        """(channel, sample), zeros past the end or past what can be read."""
        clip = self.clip
        there = max(0, min(num_samples, clip.num_samples - start))
        if self.trouble or there == 0:
            return np.zeros((clip.num_channels, num_samples), np.float32)
        try:
            samples = read_samples(clip, start, num_samples, as_stored=True)
        except DataError as error:
            self.trouble = error.predicate
            return np.zeros((clip.num_channels, num_samples), np.float32)
        self._measure(samples)
        padded = np.zeros((len(samples), num_samples), np.float32)
        padded[:, : samples.shape[1]] = samples
        return padded

    def _measure(self, samples: np.ndarray) -> None:
        good = np.isfinite(samples)
        if not good.all():
            self.bad += int(samples.size - good.sum())
            samples = np.where(good, samples, np.float32(0))
        self.count += samples.shape[1]
        if samples.size == 0:
            return
        self.peak = max(self.peak, float(samples.max()), float(-samples.min()))
        self.energy += float(np.vdot(samples, samples))
        if self.peak >= _FULL_SCALE:
            hot = np.abs(samples) >= _FULL_SCALE
            runs = hot[:, :-2] & hot[:, 1:-1] & hot[:, 2:]
            if runs.any():
                inside = np.zeros_like(hot)
                for shift in range(_CLIPPED_RUN):
                    inside[:, shift : shift + runs.shape[1]] |= runs
                self.clipped += int(inside.sum())
        coarse = np.clip(np.rint(samples.T * np.float32(32768)), -32768, 32767).astype(np.int16)
        self.sounding = self.sounding or bool(coarse.any())
        self.hash.update(coarse.tobytes())

    def facts(self) -> ClipFacts:
        values = max(1, self.count * self.clip.num_channels)
        return ClipFacts(
            source=self.source,
            clip=self.clip,
            num_samples=self.count,
            peak=self.peak,
            rms=(self.energy / values) ** 0.5,
            clipped_samples=self.clipped,
            bad_samples=self.bad,
            digest=self.hash.hexdigest() if self.sounding else "",
            trouble=self.trouble,
            truncation=_truncation(self.clip),
        )


def _truncation(clip: Clip) -> str:
    """A decoder takes a file that was cut short for a short one, so the header is asked."""
    try:
        with clip.path.open("rb") as file:
            found = find_truncation(file)
    except OSError:
        return ""
    return "" if found is None else str(found)


class _Comparison:
    """How far a mixture is from the sum of its sources."""

    def __init__(self) -> None:
        self.mixture = self.sum = self.product = self.difference = 0.0

    def add(self, mixture: np.ndarray, sources: list[np.ndarray]) -> bool:
        """False if the channels do not go together."""
        try:
            total = np.sum([to_channels(source, len(mixture)) for source in sources], axis=0, dtype=np.float64)
        except DataError:
            return False
        wide = mixture.astype(np.float64)
        self.mixture += float(np.vdot(wide, wide))
        self.sum += float(np.vdot(total, total))
        self.product += float(np.vdot(wide, total))
        wide -= total
        self.difference += float(np.vdot(wide, wide))
        return True

    def result(self) -> tuple[float | None, float | None, float | None]:
        """Difference in dB, nearest gain, difference in dB with that gain; None where there is no sound."""
        if self.mixture <= 0 or self.sum <= 0:
            return None, None, None
        left = max(0.0, self.mixture - self.product**2 / self.sum)
        return _db(self.difference / self.mixture), self.product / self.sum, _db(left / self.mixture)


def _db(power: float) -> float:
    return 10 * log10(power) if power > 0 else -inf
