"""What the player plays and draws: mixture and stems as plain 16-bit samples, written while they are separated.

A player asks for any stretch of them and gets all tracks of it at once, so that a song can be heard the moment it is
done, however long it is. Downloads are the files themselves, never these.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from unbraid.audio.rate import Resampler
from unbraid.files.json_text import JsonError, entries, member, read_json
from unbraid.files.pending import PendingFile, write_pending
from unbraid.pictures.player.views import quantise

_RATES_HZ = (8_000, 48_000)
"""What every browser plays; recordings of other rates are resampled for the player."""


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """What there is to play: the mixture first."""

    names: tuple[str, ...]
    sample_rate: int
    num_channels: int
    num_samples: int
    """Per channel; of the shortest track."""


class TrackWriter:
    """Writes some tracks of one recording, block by block."""

    def __init__(self, folder: Path, indices: list[int], sample_rate: int, num_channels: int) -> None:
        """`indices` are the places of these tracks among all of the recording."""
        self.sample_rate = player_rate(sample_rate)
        self.num_channels = 2 if num_channels == 2 else 1
        self.num_samples = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [open(track_path(folder, index), "wb", buffering=1 << 20) for index in indices]  # noqa: SIM115
        channels = self.num_channels * len(indices)
        self._resampler = Resampler(sample_rate, self.sample_rate, channels, "HQ")

    def write(self, stems: np.ndarray) -> None:
        """Append (source, channel, sample)."""
        # More than two channels are heard as their mean.
        heard = stems if stems.shape[1] == self.num_channels else stems.mean(axis=1, keepdims=True)
        self._append(self._resampler.push(heard.reshape(-1, heard.shape[-1])))

    def close(self) -> None:
        """Brings the rest to the disk."""
        self._append(self._resampler.finish())
        self.discard()

    def discard(self) -> None:
        for file in self._files:
            file.close()

    def _append(self, samples: np.ndarray) -> None:
        if samples.shape[1] == 0:
            return
        for file, track in zip(
            self._files, quantise(samples).reshape(len(self._files), self.num_channels, -1), strict=True
        ):
            file.write(np.ascontiguousarray(track.T).tobytes())
        self.num_samples += samples.shape[1]


def player_rate(sample_rate: int) -> int:
    """The rate, in Hz, at which a recording is played."""
    return min(max(sample_rate, _RATES_HZ[0]), _RATES_HZ[1])


def track_path(folder: Path, index: int) -> Path:
    return folder / f"{index}.pcm"


def save_tracks(folder: Path, tracks: Tracks) -> None:
    """The list of what there is; before it is there, there is nothing to play."""
    write_pending(PendingFile(folder / "tracks.json"), json.dumps(asdict(tracks)).encode())


def load_tracks(folder: Path) -> Tracks | None:
    """None also where the list is damaged, or a track shorter than it says."""
    try:
        values = read_json(folder / "tracks.json")
        tracks = Tracks(
            names=tuple(entries(values, "names", str)),
            sample_rate=member(values, "sample_rate", int),
            num_channels=member(values, "num_channels", int),
            num_samples=member(values, "num_samples", int),
        )
        wanted = 2 * tracks.num_channels * tracks.num_samples
        whole = all(track_path(folder, index).stat().st_size >= wanted for index in range(len(tracks.names)))
    except (OSError, JsonError):
        return None
    return tracks if whole and tracks.num_channels in (1, 2) and tracks.num_samples >= 0 else None


def map_track(folder: Path, tracks: Tracks, index: int) -> np.ndarray:
    """One track as int16 (sample, channel), not read before it is used."""
    shape = (tracks.num_samples, tracks.num_channels)
    if tracks.num_samples == 0:
        return np.zeros(shape, "<i2")
    return np.memmap(track_path(folder, index), "<i2", "r", shape=shape)


def read_stretch(folder: Path, tracks: Tracks, start: int, count: int) -> bytes:
    """All tracks from sample `start` on, one after the other, each little-endian int16 with its channels in turn."""
    count = max(0, min(count, tracks.num_samples - start))
    frame_bytes = 2 * tracks.num_channels
    pieces = []
    for index in range(len(tracks.names)):
        with open(track_path(folder, index), "rb") as file:
            file.seek(start * frame_bytes)
            pieces.append(file.read(count * frame_bytes))
    return b"".join(pieces)
