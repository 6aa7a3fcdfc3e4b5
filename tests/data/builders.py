"""Miniature data sets, made of noise, in the layouts that people have on their disks."""

import csv
from fractions import Fraction

import av
import numpy as np
import soundfile


def noise(seed, seconds=0.5, rate=8000, channels=1, level=0.1):
    """(sample, channel); every seed its own, by its number or its name."""
    seed = [seed] if isinstance(seed, int) else list(str(seed).encode())
    samples = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    return level * np.clip(samples / 3, -1, 1)


def sweep(seed, seconds=4.0, rate=44100):
    """(sample, 2): a rising tone. AAC replaces noise by other noise, so that noise tells nothing about time."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (200 * (seed + 1) * time + 150 * time**2)
    fade = np.clip(np.minimum(time, time[::-1]) / 0.2, 0, 1) ** 2
    return 0.2 * fade[:, None] * np.stack([np.sin(phase), np.cos(phase)], axis=1)


def write(path, samples, rate=8000, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **settings)


def write_song(folder, stems=("vocals", "drums", "bass", "other"), mixture=True, extension="wav", rate=8000, **form):
    """A folder with one file per stem, and their sum."""
    sounds = {stem: noise(f"{folder.name}/{stem}", rate=rate, **({"channels": 2} | form)) for stem in stems}
    for stem, samples in sounds.items():
        write(folder / f"{stem}.{extension}", samples, rate)
    if mixture:
        write(folder / f"mixture.{extension}", sum(sounds.values()), rate, **depth(extension))
    return sounds


def depth(extension):
    """Fine enough for a sum to be exact."""
    return {"wav": {"subtype": "FLOAT"}, "flac": {"subtype": "PCM_24"}}.get(extension, {})


def write_mp4(path, streams, rate=44100):
    """AAC streams of (sample, channel) in one MP4, as a .stem.mp4 has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        tracks = [container.add_stream("aac", rate=rate, layout="stereo", bit_rate=256_000) for _ in streams]
        for track, samples in zip(tracks, streams, strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), "fltp", "stereo")
            # With times, so that the container marks the samples that the encoder puts before the first.
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while fifo.samples:
                container.mux(track.encode(fifo.read(1024, partial=True)))
            container.mux(track.encode(None))


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
