"""Trains the detector of `unbraid separate` and says how often it is right.

python -m benchmarks.training.detector CORPUS --rendered FOLDER [--train FILE]

FOLDER holds the songs that `unbraid prepare midi` renders (train, valid and test of the corpus). Clips are drawn from a
seed: talk is one voice, two at once or in turns, with or without a soft background; music is rendered songs, sung songs
and film music, whole or with parts left out, also a voice over a beat as loud as itself; film sound is at least two of
dialogue, music and effects at the levels of films, or effects alone. All are filtered, levelled and clipped at random.
"""

import argparse
import csv
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from unbraid.audio.rate import Resampler
from unbraid.audio.reading import open_audio
from unbraid.separation import detector as heard
from unbraid.separation.detector import KINDS, RATE, Detector, features_of, num_features, pooled

CLIPS, TEST_CLIPS, WORKERS = 2600, 60, 2
SECONDS, TEST_SECONDS = (9.0, 30.0), (30.0, 60.0)
LEAN = (0.5, 0.5, 0.0)
"""Added to the scores of KINDS. Set on the valid split: without it a tenth of noisy talk, and of music, went
to film sound, whose training clips hold both."""
Clip = np.ndarray
Parts = tuple[Clip | None, Clip | None, Clip | None]
"""Speech, music and effects, as `PARTS` names them."""


class Sounds:
    """Parts of the corpus at 16 kHz in memory, by split."""

    def __init__(self, corpus: Path, rendered: Path, split: str, per_kind: float) -> None:
        self.speech = self._load(self._manifest(corpus / "speech", split), per_kind)
        wanted = "valid" if split == "test" else split
        effects = self._manifest(corpus / "fx", wanted)
        self.effects = self._load(effects[::2] if split == "test" else effects, per_kind)
        songs = [sorted(folder.glob("*.flac")) for folder in sorted((rendered / split).iterdir())]
        self.rendered = [self._stems(song, 40) for song in songs if song]
        sung = sorted((corpus / "music/everything_is_free" / wanted).iterdir())
        self.sung = [self._stems(sorted(song.glob("*.ogg")), 150) for song in sung]
        self.film = [self._read(path, 40) for path in sorted((corpus / "music/film" / split).glob("*"))]

    @staticmethod
    def _manifest(part: Path, split: str) -> list[Path]:
        with open(part / "manifest.csv", newline="", encoding="utf-8") as file:
            return [part / row["path"] for row in csv.DictReader(file) if row["split"] == split]

    def _load(self, paths: list[Path], seconds: float) -> list[Clip]:
        order, total, clips = np.random.default_rng(0).permutation(len(paths)), 0.0, []
        for index in order:
            clip = self._read(paths[index], 30)
            if len(clip) > 0.3 * RATE and np.abs(clip).max() > 1e-3:
                clips.append(clip)
                total += len(clip) / RATE
            if total > seconds:
                break
        return clips

    def _stems(self, paths: list[Path], seconds: float) -> dict[str, Clip]:
        stems = {path.stem: self._read(path, seconds) for path in paths}
        length = min(map(len, stems.values()))
        return {name: stem[:length] for name, stem in stems.items()}

    @staticmethod
    def _read(path: Path, seconds: float) -> Clip:
        with open_audio(path, allow_truncated=True) as reader:
            resampler = Resampler(reader.info.sample_rate, RATE, 1)
            pieces, rate = [], reader.info.sample_rate
            for number, block in enumerate(reader.blocks(rate)):
                pieces.append(resampler.push(block.mean(axis=0, keepdims=True, dtype=np.float32)))
                if number + 1 >= seconds:
                    break
        return np.concatenate([*pieces, resampler.finish()], axis=-1)[0]


class Draw:
    """Clips of each kind."""

    def __init__(self, sounds: Sounds, seed: int, seconds: tuple[float, float] = SECONDS) -> None:
        self.sounds, self.rng, self.seconds = sounds, np.random.default_rng(seed), seconds

    def length(self) -> int:
        # Of a length whose transform is fast.
        return int(self.rng.uniform(*self.seconds) * 4) * RATE // 4

    def piece(self, clip: Clip, length: int) -> Clip:
        if len(clip) <= length:
            return np.resize(clip, length)
        start = self.rng.integers(len(clip) - length)
        return clip[start : start + length]

    def one_of(self, clips: list) -> Clip:
        return clips[self.rng.integers(len(clips))]

    def voice(self, length: int) -> Clip:
        """Sentences one after the other, with pauses; not of one speaker, which does no harm here."""
        pieces, total = [], 0
        while total < length:
            sentence = self.one_of(self.sounds.speech)
            pieces += [level(sentence), np.zeros(int(self.rng.uniform(0.05, 0.9) * RATE), np.float32)]
            total += len(pieces[-2]) + len(pieces[-1])
        return np.concatenate(pieces)[:length]

    def events(self, length: int) -> Clip:
        out = np.zeros(length, np.float32)
        for _ in range(self.rng.integers(2, 2 + length // (3 * RATE))):
            event = self.one_of(self.sounds.effects)[: 6 * RATE]
            start = self.rng.integers(length)
            event = level(event)[: length - start] * 10 ** (self.rng.uniform(-9, 3) / 20)
            out[start : start + len(event)] += event
        return out

    def song(self, length: int) -> Clip:
        match self.rng.integers(5):
            case 0 | 1:
                stems = self.one_of(self.sounds.rendered)
            case 2 if self.sounds.film:
                return level(self.piece(self.one_of(self.sounds.film), length))
            case 3 if self.sounds.sung and self.sounds.rendered:
                # A singer over another song's instruments.
                sung, played = self.one_of(self.sounds.sung), self.one_of(self.sounds.rendered)
                voice = level(self.piece(sung["vocals"], length))
                return voice * self.gain(-6, 6) + level(self.piece(sum(played.values()), length))
            case _:
                stems = self.one_of(self.sounds.sung)
        kept = [stem for stem in stems.values() if self.rng.random() > 0.15] or list(stems.values())
        start = self.rng.integers(max(1, len(kept[0]) - length))
        return level(sum(np.resize(stem[start:], length) * self.gain(-4, 4) for stem in kept))

    def gain(self, low: float, high: float) -> np.float32:
        return np.float32(10 ** (self.rng.uniform(low, high) / 20))

    def talk(self) -> Parts:
        length = self.length()
        voices, background = self.voice(length), None
        if self.rng.random() < 0.6:
            voices = voices + self.voice(length) * self.gain(-5, 5)
        if self.rng.random() < 0.5:
            background = level(self.piece(self.one_of(self.sounds.effects), length)) * self.gain(-40, -14)
        return voices, None, background

    def music(self) -> Parts:
        length = self.length()
        song = self.song(length)
        if self.rng.random() < 0.08:
            song = song + self.voice(length) * self.gain(-6, 2)  # as loud as a rapper over a beat
        return None, song, None

    def film_sound(self) -> Parts:
        length = self.length()
        dialogue = self.voice(length) * self.gain(-2, 2)
        music, effects = self.song(length) * self.gain(-13, -5), self.events(length) * self.gain(-8, 0)
        match self.rng.integers(6):
            case 0 | 1 | 2:
                return dialogue, music, effects
            case 3:
                return dialogue, music, None
            case 4:
                return dialogue, None, effects
        return None, music if self.rng.random() < 0.5 else None, effects

    def disturbed(self, clip: Clip) -> Clip:
        """A band that some microphone or codec passes, and now and then clipping and hiss."""
        spectrum = np.fft.rfft(clip)
        freqs = np.fft.rfftfreq(len(clip), 1 / RATE)
        tilt = (np.maximum(freqs, 30) / 1000) ** (self.rng.uniform(-3, 3) / 6.02)
        if self.rng.random() < 0.5:
            tilt = tilt * (freqs < self.rng.uniform(3200, 8000))
        if self.rng.random() < 0.3:
            tilt = tilt * (freqs > self.rng.uniform(40, 300))
        clip = level(np.fft.irfft(spectrum * tilt, len(clip)).astype(np.float32))
        if self.rng.random() < 0.1:
            clip = np.clip(clip, -2.0, 2.0)
        return clip + self.rng.standard_normal(len(clip)).astype(np.float32) * self.gain(-70, -35)


def level(clip: Clip) -> Clip:
    return clip / (np.sqrt(np.mean(np.square(clip, dtype=np.float64))) + 1e-9).astype(np.float32)


def mixed(parts: Parts) -> Clip:
    return sum(part for part in parts if part is not None)


def shares_of(parts: Parts, heard_in: np.ndarray) -> np.ndarray:
    """How much of each part a window holds: 0 from 25 dB below the whole down, 1 from 5 dB below it up."""
    length = round(3.0 * RATE)
    starts = range(0, len(heard_in) * length, length)
    whole = mixed(parts)
    rows = []
    for start in starts:
        power = np.mean(np.square(whole[start : start + length])) + 1e-12
        levels = [
            -99.0 if part is None else 10 * np.log10(np.mean(np.square(part[start : start + length])) / power + 1e-12)
            for part in parts
        ]
        rows.append(np.clip((np.array(levels) + 25) / 20, 0, 1))
    return np.array(rows)[heard_in]


def drawn(job: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Features and shares of the windows of clips, and which of KINDS the clips are."""
    seed, count = job
    draw = Draw(_SOUNDS[0], seed)
    makers: list[Callable[[], Parts]] = [draw.talk, draw.music, draw.film_sound]
    clips = []
    for number in range(count):
        parts = makers[number % 3]()
        sound = draw.disturbed(mixed(parts))
        clips.append((features_of(sound), shares_of(parts, heard.heard_windows(sound)[1]), number % 3))
    return clips


_SOUNDS: list[Sounds] = []


def train(sounds: Sounds, file: Path) -> None:
    torch.manual_seed(0)
    _SOUNDS[:] = [sounds]
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        drawings = [
            clip for clips in pool.map(drawn, [(seed, CLIPS // WORKERS) for seed in range(WORKERS)]) for clip in clips
        ]
    print(f"{len(drawings)} clips, {sum(len(clip[0]) for clip in drawings)} windows", flush=True)
    model = Detector(num_features())
    # A quarter of the clips is for the second stage: of its own clips the first one is more certain than it should be.
    first, second = drawings[len(drawings) // 4 :], drawings[: len(drawings) // 4]
    rows = torch.cat([torch.from_numpy(features) for features, _, _ in first])
    shares = torch.cat([torch.from_numpy(part).float() for _, part, _ in first])
    model.mean.copy_(rows.mean(dim=0))
    model.scale.copy_(rows.std(dim=0) + 1e-3)
    optimiser = torch.optim.AdamW(model.window.parameters(), lr=3e-3, weight_decay=1e-2)
    for epoch in range(60):
        for batch in torch.randperm(len(rows)).split(256):
            noisy = rows[batch] + 0.15 * torch.randn_like(rows[batch]) * model.scale
            step(optimiser, F.binary_cross_entropy_with_logits(model.windows(noisy), shares[batch]))
        if epoch == 40:
            optimiser.param_groups[0]["lr"] = 5e-4
    with torch.no_grad():
        spreads = torch.stack([pooled(model.windows(torch.from_numpy(features))) for features, _, _ in second])
    kinds = torch.tensor([kind for _, _, kind in second])
    optimiser = torch.optim.AdamW(model.whole.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(1500):
        step(optimiser, F.cross_entropy(model.whole(spreads + 0.02 * torch.randn_like(spreads)), kinds))
    with torch.no_grad():
        model.whole[-1].bias += torch.tensor(LEAN)
    save_file({name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}, file)
    print(
        f"{file}: {file.stat().st_size / 1024:.0f} kB, {sum(map(torch.numel, model.parameters())):,} numbers",
        flush=True,
    )


def step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def report(sounds: Sounds) -> None:
    """How often the bundled detector is right on the test split, and what it makes of hard cases."""
    draw, rng = Draw(sounds, 2, TEST_SECONDS), np.random.default_rng(3)
    print(
        f"| clips of {TEST_SECONDS[0]:g}-{TEST_SECONDS[1]:g} s | {' | '.join(KINDS)} | right |\n|---|---|---|---|---|"
    )
    right = 0
    for kind, make in zip(KINDS, (draw.talk, draw.music, draw.film_sound), strict=True):
        said = [heard.detect_samples(draw.disturbed(mixed(make()))).kind for _ in range(TEST_CLIPS)]
        right += said.count(kind)
        row(f"{kind}, disturbed as in training", said, kind)
    print(f"| all, disturbed | | | | {right / (3 * TEST_CLIPS):.1%} |")
    right = 0
    for kind, make in zip(KINDS, (draw.talk, draw.music, draw.film_sound), strict=True):
        said = [heard.detect_samples(mixed(make())).kind for _ in range(TEST_CLIPS)]
        right += said.count(kind)
        row(f"{kind}, not disturbed", said, kind)
    print(f"| all, not disturbed | | | | {right / (3 * TEST_CLIPS):.1%} |")
    row("one sentence as recorded", [heard.detect_samples(clip).kind for clip in sounds.speech[:TEST_CLIPS]], "talk")
    whole = [heard.detect_samples(level(sum(stems.values()))).kind for stems in (*sounds.rendered, *sounds.sung)]
    row("whole songs", whole, "music")
    length = 20 * RATE
    singing = [heard.detect_samples(draw.piece(song["vocals"], length)).kind for song in sounds.sung for _ in range(10)]
    row("singing alone", singing, "music")
    over = [draw.voice(length) + level(draw.song(length)) * draw.gain(-3, 3) for _ in range(30)]
    row("speech over a song as loud (as in rap)", [heard.detect_samples(clip).kind for clip in over], "music")
    under = [draw.voice(length) + level(draw.song(length)) * draw.gain(-25, -18) for _ in range(30)]
    row("speech over a song 18 to 25 dB softer", [heard.detect_samples(clip).kind for clip in under], None)
    effects = [heard.detect_samples(clip).kind for clip in sounds.effects[:TEST_CLIPS] if len(clip) > 3 * RATE]
    row("one effect alone", effects, None)
    tones = [np.sin(2 * np.pi * rng.uniform(100, 3000) * np.arange(length) / RATE) for _ in range(20)]
    row("a tone", [heard.detect_samples(tone.astype(np.float32)).kind for tone in tones], None)
    row("silence", [heard.detect_samples(np.zeros(length, np.float32)).kind], None)


def row(title: str, said: list[str | None], kind: str | None) -> None:
    counts = " | ".join(str(said.count(name)) for name in KINDS)
    right = f"{said.count(kind) / len(said):.0%}" if kind else "-"
    nothing = f" ({said.count(None)} with nothing to separate)" if None in said else ""
    print(f"| {title}{nothing} | {counts} | {right} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rendered", type=Path, required=True)
    parser.add_argument("--train", type=Path, metavar="FILE")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    if settings.train:
        train(Sounds(settings.corpus, settings.rendered, "train", 1500), settings.train)
        heard._FILE = settings.train
    test = Sounds(settings.corpus, settings.rendered, "test", 400)
    report(test)


if __name__ == "__main__":
    main()
