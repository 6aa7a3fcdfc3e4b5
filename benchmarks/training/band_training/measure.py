"""Powers of stems in narrow bands: those of a corpus's training songs and voices, and of real mixtures for validation.

Recorded songs are measured at five speeds, pitch and tempo together, since there are few. Speech makes up for there
being one singer: a speaker's sentences, one after the other and mostly higher than they were spoken, are a vocal stem.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from unbraid.models.sfc.filterbank import average_in_bands, narrow_band_edges
from unbraid.signal.stft import Stft

RATE, N_FFT = 44_100, 4096
HOP = N_FFT // 4
MEASURED = 192
"""Bands; a model's narrow bands join an equal number of them."""
SOURCES = ("vocals", "drums", "bass", "other")
RECORDED_SPEEDS = (1.0, 0.84, 0.92, 1.09, 1.19)
VOICE_SPEEDS = (1.0, 1.3, 0.9, 1.15)
VOICES = "voices"
SINGER_LEVEL = 0.7
"""Of the tune that is sung to, in validation."""


class Bank:
    """From stereo audio to powers in narrow bands."""

    def __init__(self) -> None:
        self.stft = Stft(N_FFT, HOP)
        self.averages = average_in_bands(narrow_band_edges(N_FFT // 2 + 1, MEASURED))

    def spectrum(self, samples: np.ndarray) -> Tensor:
        """(part, channel, frame, freq)"""
        return self.stft(torch.from_numpy(samples).unsqueeze(0))[0].permute(1, 0, 3, 2)

    def average(self, product: Tensor) -> Tensor:
        return product @ self.averages

    def describe(self, spectrum: Tensor) -> Tensor:
        """(frame, band, 3): amplitude of either channel, and their correlation."""
        powers = self.average(spectrum.square().sum(0))
        shared = self.average((spectrum[:, 0] * spectrum[:, 1]).sum(0))
        alike = shared / (powers[0] * powers[1]).clamp_min(1e-20).sqrt()
        return torch.stack([powers[0].sqrt(), powers[1].sqrt(), alike.clamp(-1, 1)], dim=-1)


def measure(corpora: list[Path], bands: Path) -> None:
    bank = Bank()
    for split in ("train", "valid"):
        (bands / split).mkdir(parents=True, exist_ok=True)
    measure_valid(bank, [song for corpus in corpora for song in songs(corpus, "valid")], bands / "valid")
    for corpus in corpora:
        for name, stems in songs(corpus, "train"):
            for speed in (1.0,) if is_rendered(name) else RECORDED_SPEEDS:
                for stem, path in stems.items():
                    measure_stem(bank, [path], speed, bands / "train" / f"{name}@{speed}" / f"{stem}.npy")
            print(name, flush=True)
        for index, (speaker, paths) in enumerate(speakers(corpus)):
            speed = VOICE_SPEEDS[index % len(VOICE_SPEEDS)]
            measure_stem(bank, paths, speed, bands / "train" / f"{VOICES}.{speaker}@{speed}" / "vocals.npy")


def measure_valid(bank: Bank, found: list[tuple[str, dict[str, Path]]], folder: Path) -> None:
    """The first half of recorded songs, the first minute of tunes, and the tunes with the singer of a song."""
    singers = []
    for name, stems in sorted(found, key=lambda song: is_rendered(song[0])):
        audio = {stem: read_stereo(path) for stem, path in stems.items()}
        longest = max(samples.shape[-1] for samples in audio.values())
        length = min(longest, 60 * RATE) if is_rendered(name) else longest // 2
        audio = {stem: fitted(samples, length) for stem, samples in audio.items()}
        save_mixture(bank, audio, folder / f"{name}.npz")
        if not is_rendered(name):
            singers.append(only_active(audio["vocals"]))
        elif singers and any(samples.any() for samples in audio.values()):
            vocals = fitted(np.tile(singers[0], 4), length)
            level = rms(np.sum(list(audio.values()), axis=0)) / rms(vocals)
            save_mixture(
                bank, {"vocals": np.float32(SINGER_LEVEL * level) * vocals, **audio}, folder / f"sung.{name}.npz"
            )


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut or padded with silence."""
    return np.pad(samples, ((0, 0), (0, max(0, length - samples.shape[-1]))))[:, :length]


def only_active(samples: np.ndarray) -> np.ndarray:
    """Without the seconds in which hardly anything sounds."""
    seconds = samples[:, : samples.shape[-1] // RATE * RATE].reshape(2, -1, RATE)
    powers = np.square(seconds).mean((0, 2))
    return np.ascontiguousarray(seconds[:, powers > 0.05 * powers.mean()].reshape(2, -1))


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def is_rendered(name: str) -> bool:
    return name.startswith("rendered")


def songs(corpus: Path, split: str) -> list[tuple[str, dict[str, Path]]]:
    """Name and stems. Where a recorded song has no bass stem, its bass is in `other`: an accompaniment."""
    found: dict[str, dict[str, Path]] = {}
    for row in rows(corpus / "music"):
        if row["split"] == split and row["stem"] in SOURCES:
            found.setdefault(row["track"], {})[row["stem"]] = corpus / "music" / row["path"]
    for stems in found.values():
        if "bass" not in stems:
            stems["accompaniment"] = stems.pop("other")
    for kind in sorted((corpus / "music").glob("rendered*")):
        for folder in sorted((kind / split).glob("*")) if (kind / split).is_dir() else ():
            if not folder.name.startswith("."):
                found[f"{kind.name}.{folder.name}"] = {path.stem: path for path in folder.glob("*.flac")}
    return list(found.items())


def speakers(corpus: Path, at_a_time: int = 24) -> list[tuple[str, list[Path]]]:
    """Sentences of each speaker for training, so many at most in one stem."""
    found: dict[str, list[Path]] = {}
    for row in rows(corpus / "speech"):
        if row["split"] == "train":
            found.setdefault(row["speaker"], []).append(corpus / "speech" / row["path"])
    return [
        (f"{speaker}-{start}", paths[start : start + at_a_time])
        for speaker, paths in found.items()
        for start in range(0, len(paths), at_a_time)
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measure_stem(bank: Bank, paths: list[Path], speed: float, target: Path) -> None:
    """What the files hold one after the other."""
    if target.exists():
        return
    audio = np.concatenate([read_stereo(path, speed) for path in paths], axis=-1)
    pieces = [bank.describe(bank.spectrum(piece)).half().numpy() for piece in in_pieces(audio)]
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial.npy")
    np.save(partial, np.concatenate(pieces))
    partial.rename(target)


def read_stereo(path: Path, speed: float = 1.0) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate * speed != RATE:
        samples = soxr.resample(samples, rate * speed, RATE, quality="HQ")
    return np.ascontiguousarray(np.broadcast_to(samples.T, (2, len(samples))))


def in_pieces(samples: np.ndarray, seconds: float = 30.0) -> Iterator[np.ndarray]:
    step = int(seconds * RATE) // HOP * HOP
    for start in range(0, max(samples.shape[-1] - N_FFT, 1), step):
        yield samples[..., start : start + step]


def save_mixture(bank: Bank, audio: dict[str, np.ndarray], target: Path) -> None:
    """The mixture of stems as it is described, and per stem its power and what both share."""
    if target.exists():
        return
    result: dict[str, list[Tensor]] = {}
    for pieces in zip(*(in_pieces(samples, 15.0) for samples in audio.values()), strict=True):
        spectra = dict(zip(audio, (bank.spectrum(piece) for piece in pieces), strict=True))
        mixture = torch.stack(list(spectra.values())).sum(0)
        result.setdefault("mixture", []).append(bank.describe(mixture))
        for stem, spectrum in spectra.items():
            result.setdefault(f"power/{stem}", []).append(bank.average(spectrum.square().sum(0)))
            result.setdefault(f"shared/{stem}", []).append(bank.average((spectrum * mixture).sum(0)))
    np.savez(target, **{key: torch.cat(parts, 0 if key == "mixture" else 1).numpy() for key, parts in result.items()})


@cache
def edges_of(num_bands: int) -> np.ndarray:
    """First bins of so many bands, which join those that are measured."""
    return np.array(narrow_band_edges(N_FFT // 2 + 1, num_bands, MEASURED // num_bands))


def widths_of(num_bands: int) -> np.ndarray:
    """Bins of each band."""
    return np.diff(edges_of(num_bands)).astype(np.float32)


def join_bands(values: np.ndarray, num_bands: int) -> np.ndarray:
    """(..., measured) to (..., narrow)"""
    fine = widths_of(MEASURED)
    joined = (values * fine).reshape(*values.shape[:-1], num_bands, -1).sum(-1)
    return joined / fine.reshape(num_bands, -1).sum(-1)


def join_description(described: np.ndarray, num_bands: int) -> np.ndarray:
    """(frame, measured, 3) to (frame, narrow, 3)."""
    if num_bands == MEASURED:
        return described.astype(np.float32)
    left, right, alike = described.astype(np.float32).transpose(2, 0, 1)
    powers = join_bands(left**2, num_bands), join_bands(right**2, num_bands)
    shared = join_bands(alike * left * right, num_bands)
    alike = np.clip(shared / np.sqrt(np.maximum(powers[0] * powers[1], 1e-20)), -1, 1)
    return np.stack([np.sqrt(powers[0]), np.sqrt(powers[1]), alike], axis=-1)
