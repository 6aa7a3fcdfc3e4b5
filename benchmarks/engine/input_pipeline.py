"""How many training mixtures a second do two cores prepare? Four 6-s stereo stems at 44.1 kHz, from WAV and from FLAC.

The songs are made up, and they are in the system's page cache. "On free cores" is what the CPU time of all processes
allows on two cores that nobody else uses; on a busy machine the clock shows less. With `--corpus`, also what share of a
step of the recipe `speech` goes into its examples.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks import machine
from unbraid.data.augment import (
    Augmentation,
    ChannelSwap,
    Codec,
    Equaliser,
    Gain,
    HighPass,
    Loudness,
    LowPass,
    PitchTempo,
    Polarity,
    Speed,
)
from unbraid.data.clips import open_clip
from unbraid.data.items import Dataset, Item
from unbraid.data.loaders import ExampleStream, build_loader
from unbraid.data.mixing.drawing import SpeakerMixing, StemMixing, build_drawer
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.data.open import open_dataset
from unbraid.models.contract import ModelSpec
from unbraid.recipes import RECIPES

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")
SPEC = ModelSpec(sample_rate=RATE, num_channels=2, sources=STEMS, exchangeable=False, chunk_seconds=6.0)
LIGHT = (ChannelSwap(probability=0.5), Polarity(probability=0.5), Equaliser(probability=0.5))
HEAVY = (*LIGHT, PitchTempo(probability=0.2), Codec(probability=0.1))


def make_songs(root: Path, extension: str, count: int = 4, seconds: float = 60.0) -> Dataset:
    """Stems of notes that fade away, with some noise: about as hard to pack as music. 16 bit."""
    generator = np.random.default_rng(0)
    time_s = np.arange(round(0.5 * RATE)) / RATE
    items = []
    for song in range(count):
        sources = {}
        for stem in STEMS:
            notes = []
            for _ in range(round(seconds / 0.5)):
                hz, decay = generator.uniform(60, 800), generator.uniform(2, 12)
                tones = sum(np.sin(2 * np.pi * hz * k * time_s + generator.uniform(0, 6)) / k for k in range(1, 9))
                notes.append(np.exp(-decay * time_s) * (tones + 0.05 * generator.standard_normal(len(time_s))))
            mono = 0.1 * np.concatenate(notes)
            samples = np.stack([mono, 0.7 * mono + 0.003 * generator.standard_normal(len(mono))], axis=1)
            path = root / f"{song}" / f"{stem}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE, subtype="PCM_16")
            sources[stem] = (open_clip(path),)
        items.append(Item(str(song), sources))
    # Every song several times over: more than is kept in memory, so that files are read as those of a large set are.
    return Dataset("made", root, "train", STEMS, False, tuple(items * 5))


def mixtures_per_second(dataset: Dataset, mixing: StemMixing, batches: int, workers: int = 2) -> tuple[float, float]:
    """Through the loader, with the processes already running; and the CPU ms of all of them for each mixture."""
    loader = build_loader(ExampleStream(build_drawer(dataset, mixing, SPEC), seed=0, batch_size=4), workers)
    before = _cpu_seconds()
    stream = iter(loader)
    for _ in range(4 * workers):
        next(stream)
    start = time.perf_counter()
    for _ in range(batches):
        next(stream)
    wall = time.perf_counter() - start
    # The processes are joined, and with that their time is known; by then they have drawn what was to come next.
    del stream
    drawn = 4 * (batches + 4 * workers + 4 * workers)
    return 4 * batches / wall, 1000 * (_cpu_seconds() - before) / drawn


def _cpu_seconds() -> float:
    return sum(
        resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def milliseconds(what, least_seconds: float = 0.5) -> float:
    """CPU time of one call, in this process; the call gets its number."""
    what(0)
    start, count = time.process_time(), 0
    while time.process_time() - start < least_seconds:
        count += 1
        what(count)
    return 1000 * (time.process_time() - start) / count


def run(batches: int = 60) -> None:
    torch.set_num_threads(1)
    plain = StemMixing(segment_seconds=6.0)
    ways = {
        "plain": plain,
        "swap, polarity, equaliser": StemMixing(segment_seconds=6.0, drawing=SourceDrawing(augmentations=LIGHT)),
        "and pitch, tempo, codecs": StemMixing(segment_seconds=6.0, drawing=SourceDrawing(augmentations=HEAVY)),
    }
    print(f"{'files':6} {'':28} {'mixtures/s':>10} {'on free cores':>14} {'CPU ms each':>12} {'of drawing':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for extension in ("wav", "flac"):
            dataset = make_songs(Path(folder), extension)
            for name, mixing in ways.items():
                drawer = build_drawer(dataset, mixing, SPEC)
                cost = milliseconds(lambda number, drawer=drawer: drawer.draw(1, number))
                rate, all_cost = mixtures_per_second(dataset, mixing, batches)
                free = 2000 / all_cost
                print(f"{extension:6} {name:28} {rate:10.0f} {free:14.0f} {all_cost:12.1f} {cost:12.1f}")
            clips = [item.sources[stem][0] for item in dataset.items for stem in STEMS]

            def read(number: int, clips=clips) -> None:
                from unbraid.data.clips import read_clip

                for stem in range(4):
                    read_clip(clips[(4 * number + stem) % len(clips)], 100_000 + 1000 * (number % 1000), 6 * RATE, RATE)

            print(f"{extension:6} {'reading four pieces alone':28} {'':10} {'':14} {'':12} {milliseconds(read):12.1f}")


def run_augmentations() -> None:
    """What each augmentation costs on one piece."""
    generator = np.random.default_rng(0)
    piece = np.cumsum(generator.standard_normal((2, 6 * RATE)), axis=1)
    piece = (0.1 * (piece - piece.mean()) / piece.std()).astype(np.float32)
    each: list[Augmentation] = [
        ChannelSwap(),
        Gain(),
        Polarity(),
        HighPass(),
        LowPass(),
        Equaliser(),
        Speed(),
        Loudness(),
    ]
    each += [PitchTempo(), *(Codec(names=(name,)) for name in ("opus", "aac", "mp3"))]
    print(f"\n{'one piece, 6 s stereo':24} {'CPU ms':>8}")
    for augmentation in each:
        cost = milliseconds(lambda _, one=augmentation: one.apply(piece, RATE, generator))
        label = type(augmentation).__name__ + (f" {augmentation.names[0]}" if isinstance(augmentation, Codec) else "")
        print(f"{label:24} {cost:8.1f}")


def run_speech(corpus: Path, steps: int = 12) -> None:
    """The share that examples take of a step of the recipe `speech`, both in one process."""
    from unbraid.models.catalog import build_model

    config = RECIPES["speech"].config
    assert isinstance(config.mixing, SpeakerMixing)
    model = build_model(config.model).train()
    optimiser = torch.optim.Adam(model.parameters())
    dataset = open_dataset(corpus, "train")
    stream = iter(ExampleStream(build_drawer(dataset, config.mixing, model.spec), config.seed, config.batch_size))
    first, later, training = [], [], []
    for _ in range(steps):
        first.append(_seconds(lambda: next(stream)))
        batch = next(stream)

        def step(batch=batch) -> None:
            loss = (model(batch.mixture) - batch.references).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        training.append(_seconds(step))
    for _ in range(400):
        next(stream)
    later += [_seconds(lambda: next(stream)) for _ in range(20 * steps)]
    whole = float(np.median(training))
    print(f"\nrecipe speech, batches of {config.batch_size} x {config.mixing.segment_seconds} s, median wall ms")
    print(f"{'forward, backward, step':26} {1000 * whole:8.1f}")
    for name, seconds in (("examples, from files", first), ("examples, once in memory", later)):
        share = float(np.median(seconds)) / (whole + float(np.median(seconds)))
        print(f"{name:26} {1000 * float(np.median(seconds)):8.1f} {100 * share:6.1f} % of the whole")


def _seconds(what) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="also measure the recipe speech on this corpus")
    parser.add_argument("--batches", type=int, default=60)
    options = parser.parse_args()
    print(machine.describe())
    run(options.batches)
    run_augmentations()
    if options.corpus:
        run_speech(options.corpus)
