"""Rebuilds the example mixtures from the corpus's test split, which is kept out of training.

    python examples/build_examples.py --corpus path/to/corpus [--out examples]

Utterances and sounds are drawn by a seed that was set before anybody had listened or separated, and were not exchanged
since. Every file is 16-bit FLAC, and in every folder the mixture is the sum of the others to the last bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from unbraid.data.clips import read_clip
from unbraid.data.items import Clip, Dataset, Item
from unbraid.data.lists.draw_scenes import LEVELS_LUFS, list_scenes
from unbraid.data.lists.scenes import ScenePiece, find_recordings, read_scene_source
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.data.open import open_dataset

SAMPLE_RATE = 16_000
SEED = 1
SHORTEST_SECONDS, LONGEST_SECONDS = 6.0, 10.0
LEVEL_DIFFERENCE_DB = 5.0
"""Relative levels are uniform within plus and minus this, as in the training and test mixtures."""

LICENCES = {
    "libri": "LibriSpeech (V. Panayotov et al. 2015), CC BY 4.0",
    "ocean": "speechocean762 (Zhang et al. 2021), Apache-2.0",
}

NOISE, FILM, SONG = "noise/two-speakers-noise-1", "film/film-1", "song/song-1"
"""Below folders of their own: the others are a data set of speakers."""

NOISE_BELOW_DB = (0.0, 15.0)
"""How far noise lies below both speakers together, as in the training and test mixtures."""

SONGS, SONG_RATE, SONG_SECONDS = "everything_is_free", 44_100, 6.0

Wanted = Callable[[Item, Item], bool]


def female_and_male(first: Item, second: Item) -> bool:
    kinds = [(item.labels["collection"], item.labels["sex"]) for item in (first, second)]
    return kinds == [("libri", "F"), ("libri", "M")]


def same_sex_across(first: Item, second: Item) -> bool:
    collections = (first.labels["collection"], second.labels["collection"])
    return collections == ("libri", "ocean") and first.labels["sex"] == second.labels["sex"]


EXAMPLES: dict[str, Wanted] = {"two-speakers-1": female_and_male, "two-speakers-2": same_sex_across}


def draw_pair(dataset: Dataset, wanted: Wanted, rng: np.random.Generator) -> tuple[Item, Item]:
    """Two different speakers, each drawn first and then one of their utterances, until they are what is wanted."""
    spoken: dict[str, list[Item]] = {}
    for item in dataset.items:
        spoken.setdefault(item.labels["speaker"], []).append(item)
    speakers = sorted(spoken)
    while True:
        first, second = (spoken[speakers[i]] for i in rng.choice(len(speakers), 2, False))
        pair = first[rng.integers(len(first))], second[rng.integers(len(second))]
        shorter = min(clip_of(item).seconds for item in pair)
        if wanted(*pair) and SHORTEST_SECONDS <= shorter <= LONGEST_SECONDS:
            return pair


def clip_of(item: Item) -> Clip:
    return item.sources["speech"][0]


def mix(pair: tuple[Item, Item], difference_db: float) -> np.ndarray:
    """References as int16 (source, sample), cut to the shorter utterance and scaled so that their sum has the level."""
    num_samples = min(clip_of(item).num_samples for item in pair)
    signals = np.concatenate([read_clip(clip_of(item), 0, num_samples, SAMPLE_RATE) for item in pair]).astype(
        np.float64
    )
    gains = 10 ** (np.array([difference_db, -difference_db]) / 2 / 20) / np.sqrt(np.mean(signals**2, axis=1))
    signals *= gains[:, None]
    signals *= 10 ** (MIXTURE_LEVEL_DB / 20) / np.sqrt(np.mean(signals.sum(axis=0) ** 2))
    return rounded(signals)


def rounded(signals: np.ndarray) -> np.ndarray:
    """As int16; the sum of rounded references, and not the rounded sum, is what keeps the mixture exact."""
    references = np.rint(signals * 32768).astype(np.int64)
    if max(np.abs(references).max(), np.abs(references.sum(axis=0)).max()) > 32767:
        raise SystemExit("the mixture exceeds full scale: draw with another seed")
    return references.astype(np.int16)


def describe(pair: tuple[Item, Item], difference_db: float, seconds: float) -> str:
    lines = [
        f"speaker{number}: {item.name} ({item.labels['sex']}; {LICENCES[item.labels['collection']]})"
        for number, item in enumerate(pair, start=1)
    ]
    return "\n".join([*lines, f"speaker1 is {difference_db:+.1f} dB against speaker2; {seconds:.1f} s", ""])


def write_example(folder: Path, references: dict[str, np.ndarray], about: str, sample_rate: int = SAMPLE_RATE) -> None:
    """References (sample,), or (channel, sample)."""
    folder.mkdir(parents=True, exist_ok=True)
    mixture = np.sum(list(references.values()), axis=0, dtype=np.int16)
    for name, samples in (references | {"mixture": mixture}).items():
        soundfile.write(folder / f"{name}.flac", samples.T, sample_rate, subtype="PCM_16")
    (folder / "about.txt").write_text(about, encoding="utf-8")
    print(f"{folder.name}\n{about}", end="")


def build_noise(corpus: Path, folder: Path) -> None:
    """Two speakers of any kind, and a sound of the corpus behind them from the beginning on, for as long as it is."""
    dataset, noisy = open_dataset(corpus, "test", "corpus:speech"), open_dataset(corpus, "test", "corpus:noisy")
    rng = np.random.default_rng([SEED, len(EXAMPLES)])
    pair = draw_pair(dataset, lambda first, second: True, rng)
    difference_db, below_db = (
        float(rng.uniform(-LEVEL_DIFFERENCE_DB, LEVEL_DIFFERENCE_DB)),
        rng.uniform(*NOISE_BELOW_DB),
    )
    speakers = mix(pair, difference_db) / 32768
    noises = [item for item in noisy.items if item.sources.get("noise")]
    item = noises[rng.integers(len(noises))]
    clip = item.sources["noise"][0]
    noise = read_clip(clip, 0, speakers.shape[1], SAMPLE_RATE)[0].astype(np.float64)
    noise *= 10 ** (-below_db / 20) * np.sqrt(np.mean(speakers.sum(axis=0) ** 2) / np.mean(noise**2))
    signals = np.concatenate([speakers, noise[None]])
    signals *= min(1.0, 0.9 / np.abs(signals.sum(axis=0)).max())
    about = describe(pair, difference_db, speakers.shape[1] / SAMPLE_RATE)
    about += f"noise: {item.name} for {clip.seconds:.1f} s, {below_db:.1f} dB below the speakers\n"
    write_example(folder, dict(zip(("speaker1", "speaker2", "noise"), rounded(signals), strict=True)), about)


def build_film(corpus: Path, folder: Path) -> None:
    """A scene of twelve seconds: somebody speaks, music plays, and things happen."""
    dataset = open_dataset(corpus, "test", "corpus:cinematic")
    scene = list_scenes(dataset, 1, SEED, sample_rate=SAMPLE_RATE)[0]
    recordings = find_recordings(dataset, [scene])
    signals = {name: read_scene_source(scene, name, recordings, SAMPLE_RATE)[0] for name in LEVELS_LUFS}
    peak = np.abs(np.sum(list(signals.values()), axis=0)).max()
    scaled = np.stack(list(signals.values())) * min(1.0, 0.9 / peak)

    def line(piece: ScenePiece) -> str:
        return f"{piece.source}: {piece.item} from {piece.at:.2f} s, for {piece.seconds:.2f} s"

    about = "\n".join([*map(line, scene.pieces), f"{scene.seconds:.1f} s", ""])
    write_example(folder, dict(zip(signals, rounded(scaled), strict=True)), about)


def build_song(corpus: Path, folder: Path) -> None:
    """Six seconds of the second half of the song that no model was trained on, somewhere where somebody sings."""
    item = next(
        item for item in open_dataset(corpus, "valid", "corpus:music").items if item.labels["collection"] == SONGS
    )
    rng = np.random.default_rng([SEED, len(EXAMPLES) + 1])
    total = min(clip.seconds for clips in item.sources.values() for clip in clips)
    while True:
        start = round(float(rng.uniform(total / 2, total - SONG_SECONDS)), 2)
        signals = {
            name: read_clip(clips[0], round(start * SONG_RATE), round(SONG_SECONDS * SONG_RATE), SONG_RATE)
            for name, clips in item.sources.items()
        }
        loud = [np.sqrt(np.mean(samples**2)) for samples in signals.values()]
        if min(loud) > 0.05 * max(loud):
            break
    scaled = np.stack(list(signals.values())) * min(1.0, 0.9 / np.abs(np.sum(list(signals.values()), axis=0)).max())
    about = f"{item.name} from {start:.2f} s, for {SONG_SECONDS:.1f} s: {', '.join(signals)}\n"
    write_example(folder, dict(zip(signals, rounded(scaled), strict=True)), about, SONG_RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the example mixtures.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with speech/, music/ (rendered) and fx/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.corpus, "test", "corpus:speech")
    for index, (name, wanted) in enumerate(EXAMPLES.items()):
        rng = np.random.default_rng([SEED, index])
        pair = draw_pair(dataset, wanted, rng)
        difference_db = float(rng.uniform(-LEVEL_DIFFERENCE_DB, LEVEL_DIFFERENCE_DB))
        references = mix(pair, difference_db)
        about = describe(pair, difference_db, references.shape[1] / SAMPLE_RATE)
        named = {f"speaker{number}": reference for number, reference in enumerate(references, start=1)}
        write_example(arguments.out / name, named, about)
    build_noise(arguments.corpus, arguments.out / NOISE)
    build_film(arguments.corpus, arguments.out / FILM)
    build_song(arguments.corpus, arguments.out / SONG)


if __name__ == "__main__":
    main()
