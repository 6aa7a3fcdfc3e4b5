"""Trains a model with a fixed filterbank on powers in bands instead of audio, at a tenth of the time.

    python -m benchmarks.training.band_training measure CORPUS... BANDS    powers of all stems; what is there is skipped
    python -m benchmarks.training.band_training train BANDS OUT --cpu-seconds 1000     resumes where it stopped

What `models/sfc/filterbank.py` sees and masks are powers in narrow bands, and those of a mixture follow from the
powers of its sources, their levels and their phases. Phases are drawn, and matter the less the more bins a band has. So
a step needs no audio, no STFT and no masks of single bins. Validation takes real mixtures, exactly: a song and the MIDI
files of the corpus's split `valid`, the first half of the song.

OUT gets `best.safetensors` (an average of the weights, the best by mean improvement of SI-SDR), `last.pt`, `log.jsonl`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor, nn

from unbraid.models.catalog import build_model
from unbraid.models.sfc.filterbank import bands_of_bins, narrow_band_edges
from unbraid.models.sfc.model import SFC
from unbraid.signal.stft import Stft
from unbraid.weights.store import save_model

PRESET = "fb-tiny"
RATE, N_FFT = 44_100, 4096
HOP = N_FFT // 4
MEASURED, NARROW, LOWEST = 192, 96, 2
"""Bands that are measured, and those of the model, which join two."""
SOURCES = ("vocals", "drums", "bass", "other")
SLOTS = (*SOURCES, "accompaniment")
SPEEDS = {"vocals": (0.84, 1.19, 1.09, 0.92), "bass": (0.89, 1.12)}
"""Recorded stems are measured at these speeds besides, since there are few: pitch and tempo move together."""
RECORDED = "recorded"
RECORDED_SHARES = {"vocals": 1.0, "drums": 0.6, "bass": 0.2, "other": 0.45, "accompaniment": 1.0}
"""How often a stem that is drawn by itself is a recorded one. The two recorded basses are as short and as deep as bass
drums, so that they are rare."""


def widths_of(num_bands: int, lowest: int) -> np.ndarray:
    """Bins of each band."""
    return np.diff(np.array(narrow_band_edges(N_FFT // 2 + 1, num_bands, lowest))).astype(np.float32)


WIDTHS = torch.from_numpy(widths_of(NARROW, LOWEST))
DEPENDENCE = (WIDTHS / 1.5).clamp_min(1.0).rsqrt()
"""How much the phases of the sources matter in a band of so many bins; neighbours in a Hann window are alike."""


# Measuring


class Bank:
    """From stereo audio to powers in narrow bands."""

    def __init__(self) -> None:
        self.stft = Stft(N_FFT, HOP)
        band = bands_of_bins(narrow_band_edges(N_FFT // 2 + 1, MEASURED))
        averages = torch.zeros(len(band), MEASURED)
        averages[torch.arange(len(band)), band] = 1.0
        self.averages = averages / averages.sum(0)

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


def read_stereo(path: Path, speed: float = 1.0) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate * speed != RATE:
        samples = soxr.resample(samples, rate * speed, RATE, quality="HQ")
    return np.ascontiguousarray(np.broadcast_to(samples.T, (2, len(samples))))


def in_pieces(samples: np.ndarray, seconds: float = 30.0) -> Iterator[np.ndarray]:
    step = int(seconds * RATE) // HOP * HOP
    for start in range(0, max(samples.shape[-1] - N_FFT, 1), step):
        yield samples[..., start : start + step]


def measure_stem(bank: Bank, path: Path, speed: float = 1.0) -> np.ndarray:
    pieces = in_pieces(read_stereo(path, speed))
    return np.concatenate([bank.describe(bank.spectrum(piece)).half().numpy() for piece in pieces])


def songs(corpus: Path, split: str) -> list[tuple[str, dict[str, Path]]]:
    """Name and stems. Where a recorded song has no bass stem, its bass is in `other`: an accompaniment."""
    found: dict[str, dict[str, Path]] = {}
    manifest = corpus / "music" / "manifest.csv"
    if manifest.is_file():
        with manifest.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["split"] == split and row["stem"] in SOURCES:
                    found.setdefault(row["track"], {})[row["stem"]] = corpus / "music" / row["path"]
        for stems in found.values():
            if "bass" not in stems:
                stems["accompaniment"] = stems.pop("other")
    for font in sorted((corpus / "music").glob("rendered*")):
        for folder in sorted((font / split).glob("*")) if (font / split).is_dir() else ():
            if not folder.name.startswith("."):
                found[f"{font.name}.{folder.name}"] = {path.stem: path for path in folder.glob("*.flac")}
    return list(found.items())


def measure(corpora: list[Path], bands: Path) -> None:
    bank = Bank()
    for split in ("train", "valid"):
        (bands / split).mkdir(parents=True, exist_ok=True)
    for corpus in corpora:
        for name, stems in songs(corpus, "valid"):
            target = bands / "valid" / f"{name}.npz"
            if not target.exists():
                np.savez(target, **measure_mixture(bank, stems, 1.0 if name.startswith("rendered") else 0.5))
        for name, stems in songs(corpus, "train"):
            for stem, path in stems.items():
                for speed in (1.0, *(() if name.startswith("rendered") else SPEEDS.get(stem, ()))):
                    target = bands / "train" / f"{name}@{speed}" / f"{stem}.npy"
                    if not target.exists():
                        target.parent.mkdir(exist_ok=True)
                        partial = target.with_suffix(".partial.npy")
                        np.save(partial, measure_stem(bank, path, speed))
                        partial.rename(target)
            print(name, flush=True)


def measure_mixture(bank: Bank, stems: dict[str, Path], share: float) -> dict[str, np.ndarray]:
    """The mixture of the first `share` of a song, a minute at most, and per stem its power and what both share."""
    audio = {stem: read_stereo(path) for stem, path in stems.items()}
    length = min(int(share * max(samples.shape[-1] for samples in audio.values())), 60 * RATE)
    audio = {stem: np.pad(a, ((0, 0), (0, max(0, length - a.shape[-1]))))[:, :length] for stem, a in audio.items()}
    result: dict[str, list[Tensor]] = {}
    for pieces in zip(*(in_pieces(samples, 15.0) for samples in audio.values()), strict=True):
        spectra = dict(zip(audio, (bank.spectrum(piece) for piece in pieces), strict=True))
        mixture = torch.stack(list(spectra.values())).sum(0)
        result.setdefault("mixture", []).append(bank.describe(mixture))
        for stem, spectrum in spectra.items():
            result.setdefault(f"power/{stem}", []).append(bank.average(spectrum.square().sum(0)))
            result.setdefault(f"shared/{stem}", []).append(bank.average((spectrum * mixture).sum(0)))
    return {key: torch.cat(parts, 0 if key == "mixture" else 1).numpy() for key, parts in result.items()}


# Drawing


def join_bands(values: np.ndarray) -> np.ndarray:
    """(..., measured) to (..., narrow)"""
    fine = widths_of(MEASURED, 1)
    joined = (values * fine).reshape(*values.shape[:-1], NARROW, LOWEST).sum(-1)
    return joined / fine.reshape(NARROW, LOWEST).sum(-1)


def join_description(described: np.ndarray) -> np.ndarray:
    """(frame, measured, 3) to (frame, narrow, 3)."""
    left, right, alike = described.astype(np.float32).transpose(2, 0, 1)
    powers, shared = (join_bands(left**2), join_bands(right**2)), join_bands(alike * left * right)
    alike = np.clip(shared / np.sqrt(np.maximum(powers[0] * powers[1], 1e-20)), -1, 1)
    return np.stack([np.sqrt(powers[0]), np.sqrt(powers[1]), alike], axis=-1)


class Stems:
    """All measured stems in memory, by song and collection: recorded, and one for every sound font."""

    def __init__(self, bands: Path, kept: dict[Path, np.ndarray]) -> None:
        """`kept` holds what has been read before."""
        self.songs: dict[str, list[dict[str, np.ndarray]]] = {}
        for folder in sorted((bands / "train").iterdir()):
            paths = [path for path in folder.glob("*.npy") if "partial" not in path.name]
            for path in paths:
                if path not in kept:
                    kept[path] = join_description(np.load(path)).astype(np.float16)
            collection = folder.name.split(".")[0] if folder.name.startswith("rendered") else RECORDED
            if paths:
                self.songs.setdefault(collection, []).append({path.stem: kept[path] for path in paths})

    def draw(self, rng: np.random.Generator, recorded_share: float, stem: str | None = None) -> dict[str, np.ndarray]:
        """A song that has the stem: recorded with this probability, else of any sound font."""
        rendered = [name for name in self.songs if name != RECORDED]
        while True:
            recorded = not rendered or rng.random() < recorded_share
            songs = self.songs[RECORDED if recorded else rendered[rng.integers(len(rendered))]]
            song = songs[rng.integers(len(songs))]
            if stem is None or stem in song:
                return song


def cut(stem: np.ndarray, start: int, frames: int) -> np.ndarray:
    piece = np.zeros((frames, *stem.shape[1:]), np.float32)
    piece[: max(0, len(stem) - start)] = stem[start : start + frames]
    return piece


def draw_example(stems: Stems, rng: np.random.Generator, frames: int) -> tuple[np.ndarray, bool]:
    """(source, frame, band, 3): every source after its level, tilt and turn of the sides; and whether `other` is all of
    an accompaniment, bass included.

    One half are moments of one song at about its levels, the other sources from anywhere at levels up to 18 dB apart.
    """
    drawn = np.zeros((len(SLOTS), frames, NARROW, 3), np.float32)
    coherent = rng.random() < 0.5
    if coherent:
        song = stems.draw(rng, 0.6)
        start = int(rng.integers(max(1, max(len(values) for values in song.values()) - frames)))
        for stem, values in song.items():
            drawn[SLOTS.index(stem)] = cut(values, start, frames)
    else:
        left_out = {"bass", "other"} if rng.random() < 0.2 else {"accompaniment"}
        for slot, stem in enumerate(SLOTS):
            if stem in left_out or rng.random() < (0.3 if stem in ("bass", "accompaniment") else 0.12):
                continue
            for _ in range(6):
                values = stems.draw(rng, RECORDED_SHARES[stem], stem)[stem]
                drawn[slot] = cut(values, int(rng.integers(max(1, len(values) - frames))), frames)
                if np.square(drawn[slot, ..., :2]).mean() > 1e-4:
                    break
    for piece in drawn:
        vary(piece, coherent, rng)
    if merged := bool(drawn[4].any()):
        drawn[3] = drawn[4]
    return drawn[:4], merged


def vary(piece: np.ndarray, coherent: bool, rng: np.random.Generator) -> None:
    """Level, tilt and a hump of the spectrum, balance and exchange of the sides, in place; (frame, band, 3)."""
    power = float((np.square(piece[..., :2]).sum(-1) @ WIDTHS.numpy()).mean())
    if power < 1e-6 or (coherent and rng.random() < 0.15):
        piece[:] = 0
        return
    gain = 10 ** (rng.uniform(-6, 6) / 20) if coherent else 10 ** (rng.uniform(-9, 9) / 20) / math.sqrt(power) * 30
    curve = np.full(NARROW, gain)
    if rng.random() < 0.6:
        places = np.linspace(-1, 1, NARROW)
        tilt, middle, width, hump = rng.normal(0, 3), rng.uniform(-1, 1), rng.uniform(0.1, 0.5), rng.normal(0, 4)
        curve *= 10 ** ((tilt * places + hump * np.exp(-0.5 * ((places - middle) / width) ** 2)) / 20)
    piece[..., :2] *= curve[:, None].astype(np.float32)
    if rng.random() < 0.3:
        piece[..., :2] *= (10 ** (rng.normal(0, 2, 2) / 20)).astype(np.float32)
    if rng.random() < 0.5:
        piece[..., :2] = piece[..., 1::-1]


def mix(drawn: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of (batch, source, frame, band, 3): powers (channel, batch, frame, band), what the channels share (batch, frame,
    band), and per source its power and what it shares with the mixture, (batch, source, channel, frame, band)."""
    amplitude, alike = drawn[..., :2].movedim(-1, 2), drawn[..., 2]
    phase = torch.rand(alike.shape) * (2 * math.pi)
    angles = torch.stack([phase, phase + torch.acos(alike.clamp(-1, 1))], dim=2)
    real, imaginary = amplitude * angles.cos(), amplitude * angles.sin()
    sums, power = (real.sum(1), imaginary.sum(1)), amplitude.square()
    # Of a band of many bins only a part behaves as if it had one phase; in the rest, powers add up.
    powers = torch.lerp(power.sum(1), sums[0].square() + sums[1].square(), DEPENDENCE)
    shared = torch.lerp(power, real * sums[0].unsqueeze(1) + imaginary * sums[1].unsqueeze(1), DEPENDENCE)
    own = (alike * amplitude[:, :, 0] * amplitude[:, :, 1]).sum(1)
    sides = torch.lerp(own, sums[0][:, 0] * sums[0][:, 1] + sums[1][:, 0] * sums[1][:, 1], DEPENDENCE)
    return powers.movedim(1, 0), sides, power, shared


# Learning


def masks_of(model: SFC, powers: Tensor, sides: Tensor) -> Tensor:
    """(batch, source, channel, frame, band) of powers at any level."""
    mean = (powers.sum(0) @ WIDTHS).mean(1) / (2 * WIDTHS.sum())
    scale = 1 / mean.clamp_min(1e-15)[:, None, None]
    bands = model.core.encoder.embed(powers * scale, sides * scale)  # type: ignore[operator]
    return model.core.decoder.masks(model.core.separator(bands)).permute(0, 3, 4, 1, 2)  # type: ignore[operator]


def loss_of(model: SFC, drawn: Tensor, merged: Tensor) -> Tensor:
    """SFC's thresholded SNR, and the distance of the masks from the best ones.

    The latter is weighted by the power of a band to 0.3: quiet bands, which an SNR does not see, are to learn as well.
    """
    powers, sides, power, shared = mix(drawn)
    masks = masks_of(model, powers, sides)
    # Where bass and other are known together only, so are their masks.
    together = masks[:, 3:] + masks[:, 2:3] * merged[:, None, None, None, None]
    masks = torch.cat([masks[:, :3], together], dim=1)
    known = torch.ones(len(drawn), len(SOURCES))
    known[merged, 2] = 0
    mixture = powers.movedim(0, 1).unsqueeze(1)
    level = (power @ WIDTHS).sum(dim=(2, 3))
    whole = (mixture @ WIDTHS).sum(dim=(2, 3)).clamp_min(1e-3)
    error = ((masks.square() * mixture - 2 * masks * shared + power) @ WIDTHS).sum(dim=(2, 3)).clamp_min(0)
    active = level > 1e-6 * whole
    relative = torch.where(active, level, whole)
    decibels = 10 * torch.log10((error + 10**-2.5 * relative) / relative)
    snr = (decibels * torch.where(active, 1.0, 0.1) * known).sum() / known.sum()
    best = (shared / mixture.clamp_min(1e-9)).clamp(0, 1)
    weight = (mixture / whole[..., None, None, None]).clamp_min(1e-12) ** 0.3 * WIDTHS.sqrt()
    distance = ((masks - best).square() * weight).sum(dim=(-3, -2, -1)) / weight.sum(dim=(-3, -2, -1))
    return snr + 40 * (distance * known).sum() / known.sum()


@torch.no_grad()
def validate(model: SFC, bands: Path) -> dict[str, float]:
    """Mean improvement of SI-SDR in dB over pieces of 12 s, by kind of song and stem; `mean` is over these means."""
    found: dict[str, list[float]] = {}
    frames = 12 * RATE // HOP
    for path in sorted((bands / "valid").glob("*.npz")):
        song = np.load(path)
        described = torch.from_numpy(join_description(song["mixture"]))
        kind = "midi" if path.name.startswith("rendered") else "song"
        for start in range(0, len(described), frames):
            piece = described[start : start + frames].unsqueeze(0)
            powers = piece[..., :2].square().movedim(-1, 0)
            masks = masks_of(model, powers, piece[..., 2] * piece[..., 0] * piece[..., 1])[0]
            whole = float((powers @ WIDTHS).sum())
            for stem, mask in zip(SOURCES, masks, strict=True):
                if f"power/{stem}" not in song:
                    continue
                power, shared = (
                    torch.from_numpy(join_bands(song[f"{what}/{stem}"][:, start : start + frames]))
                    for what in ("power", "shared")
                )
                total = float((power @ WIDTHS).sum())
                if total > 1e-3 * whole:
                    masked = float(((mask.square() * powers[:, 0]) @ WIDTHS).sum())
                    after = si_sdr(float(((mask * shared) @ WIDTHS).sum()), masked, total)
                    found.setdefault(f"{kind}/{stem}", []).append(
                        after - si_sdr(float((shared @ WIDTHS).sum()), whole, total)
                    )
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {"mean": float(np.mean(list(means.values()))), **means}


def si_sdr(shared: float, estimate: float, reference: float) -> float:
    """In dB, of what an estimate and its reference share and their energies."""
    target = shared**2 / reference
    return 10 * math.log10(max(target, 1e-12) / max(estimate - target, 1e-12))


def train(bands: Path, out: Path, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    out.mkdir(parents=True, exist_ok=True)
    model, average = build_model(PRESET).train(), build_model(PRESET)
    assert isinstance(model, SFC)
    assert isinstance(average, SFC)
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    step, spent, best = 0, 0.0, -math.inf
    if (out / "last.pt").exists():
        state = torch.load(out / "last.pt", weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, best = state["step"], state["spent"], state["best"]
    kept: dict[Path, np.ndarray] = {}
    stems, frames = Stems(bands, kept), round(options.segment_seconds * RATE / HOP)
    begun = checked = time.process_time()
    losses: list[float] = []
    while True:
        rng = np.random.default_rng([options.seed, step])
        examples = [draw_example(stems, rng, frames) for _ in range(options.batch_size)]
        elapsed = spent + time.process_time() - begun
        left = 1 - elapsed / options.cpu_seconds
        rate = options.learning_rate * min(1.0, (step + 1) / 40, max(left / 0.25, 0.03))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(
            model,
            torch.from_numpy(np.stack([example for example, _ in examples])),
            torch.tensor([merged for _, merged in examples]),
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, max(0.002, 3 / (step + 3)))
        losses.append(float(loss.detach()))
        if time.process_time() - checked < options.every_seconds and left > 0:
            continue
        scores = validate(average, bands)
        line = {"step": step, "cpu_seconds": round(elapsed, 1), "loss": float(np.mean(losses)), **scores}
        print(json.dumps(line), flush=True)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if scores["mean"] > best:
            best = scores["mean"]
            save_model(average, out / "best.safetensors", name="music")
        elapsed = spent + time.process_time() - begun
        state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save({**state, "step": step, "spent": elapsed, "best": best}, out / "last.partial")
        (out / "last.partial").rename(out / "last.pt")
        stems, losses, checked = Stems(bands, kept), [], time.process_time()
        if left <= 0:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("corpora", type=Path, nargs="+")
    measuring.add_argument("bands", type=Path)
    training = commands.add_parser("train")
    training.add_argument("bands", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--cpu-seconds", type=float, default=1000.0, help="the rate falls over the last quarter")
    training.add_argument("--every-seconds", type=float, default=60.0, help="CPU seconds between validations")
    training.add_argument("--batch-size", type=int, default=8)
    training.add_argument("--segment-seconds", type=float, default=4.0)
    training.add_argument("--learning-rate", type=float, default=3e-3)
    training.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.corpora, options.bands)
    else:
        train(options.bands, options.out, options)


if __name__ == "__main__":
    main()
