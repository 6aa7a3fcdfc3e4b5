"""How often do speakers swap over a long conversation, when every chunk comes out of the model in an order of its own?

Builds two-speaker conversations from the speech of a corpus (turns of 2 to 12 s, some overlapped, pauses of 5 to 10 s
with silence or faint noise), cuts them into chunks of 8 s that overlap by 2 s, puts the estimates of each chunk in a
random order, and counts the pieces whose order is not found again:

    python benchmarks/engine/long_talk.py --corpus DIR --minutes 20 --pairs 20

The corpus holds speech/manifest.csv with the columns path (relative to speech/), speaker, sex, split. Conditions:
ideal   the references themselves
leaky   the other speaker at -14 dB, and noise 25 dB below the speech, new in every chunk (SI-SDR about 13 dB)
weak    the other speaker at -7 dB on average, coming and going, noise at -25 dB (SI-SDR about 6 dB)
"""

import argparse
import csv
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from unbraid.separation.speakers.online import OnlineTracker
from unbraid.separation.speakers.ordering import align
from unbraid.separation.speakers.tracking import RecordingTracker
from unbraid.weights.store import load_model

CORPUS_RATE = 16000
CHUNK_SECONDS = 8.0
OVERLAP_SECONDS = 2.0
SPEECH_LEVEL = 0.05
# A piece counts when somebody is heard in it for longer than this.
AUDIBLE_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Piece:
    chunk: int
    channel: int
    start: int
    estimate: Tensor
    order: tuple[int, ...]
    """Slot s is right if it takes estimate order[s]."""
    audible: bool


def read_speakers(corpus: Path, splits: set[str], part: str) -> dict[str, tuple[str, list[Path]]]:
    """Speaker -> (sex, files)."""
    speakers: dict[str, tuple[str, list[Path]]] = {}
    with open(corpus / "speech" / "manifest.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] in splits and row["path"].startswith(part):
                speakers.setdefault(row["speaker"], (row["sex"], []))[1].append(corpus / "speech" / row["path"])
    return speakers


def read_speech(files: list[Path]) -> np.ndarray:
    """All of a speaker's utterances without their silent ends, each at the same level, with short gaps."""
    parts = []
    for file in sorted(files):
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        samples = samples.mean(1)
        if rate != CORPUS_RATE:
            samples = soxr.resample(samples, rate, CORPUS_RATE)
        contour = np.sqrt(np.convolve(samples**2, np.ones(800) / 800, "same"))
        loud = np.flatnonzero(contour > 0.05 * contour.max())
        samples = samples[loud[0] : loud[-1]]
        parts += [samples * (SPEECH_LEVEL / np.sqrt(np.mean(samples**2))), np.zeros(CORPUS_RATE // 5, np.float32)]
    return np.concatenate(parts)


def flatten_voice(speech: np.ndarray) -> np.ndarray:
    """The same speech with the long-term spectrum all speakers share: as if through one microphone, and then some.

    Speakers of a corpus differ by their microphones; this takes away that help, and much of the voice with it.
    """
    spectrum = np.fft.rfft(speech)
    hz = np.fft.rfftfreq(len(speech), 1 / CORPUS_RATE)
    edges = np.concatenate([[0], 80 * 2 ** np.arange(0, 6.7, 1 / 3)])
    band = np.searchsorted(edges, hz, side="right") - 1
    power = np.bincount(band, np.abs(spectrum) ** 2) / np.bincount(band)
    middle = np.array([hz[band == b].mean() for b in range(len(power))])
    gain = 1 / np.sqrt(np.interp(hz, middle, power))
    target = 1 / np.maximum(hz, 200)
    flat = np.fft.irfft(spectrum * gain * target, len(speech))
    return (flat * (SPEECH_LEVEL / np.sqrt(np.mean(flat**2)))).astype(np.float32)


def build_conversation(voices: list[np.ndarray], minutes: float, rng: random.Random) -> np.ndarray:
    """References (speaker, sample); speakers differ in level by up to 5 dB."""
    length = int(minutes * 60 * CORPUS_RATE)
    references = np.zeros((len(voices), length), np.float32)
    places = [rng.randrange(len(voice)) for voice in voices]
    gains = [10 ** (rng.uniform(-2.5, 2.5) / 20) for _ in voices]
    now, speaker, until_pause = rng.uniform(0, 3), rng.randrange(len(voices)), rng.uniform(20, 60)
    while True:
        seconds = rng.uniform(2, 12)
        start, size = int(now * CORPUS_RATE), int(seconds * CORPUS_RATE)
        if start + size >= length:
            return references
        voice = voices[speaker]
        turn = voice[(places[speaker] + np.arange(size)) % len(voice)] * gains[speaker]
        fade = np.minimum(1, np.minimum(np.arange(size), np.arange(size)[::-1]) / 160)
        references[speaker, start : start + size] += turn * fade
        places[speaker] = (places[speaker] + size) % len(voice)
        until_pause -= seconds
        if until_pause < 0:
            now += seconds + rng.uniform(5, 10)
            until_pause, speaker = rng.uniform(20, 60), rng.randrange(len(voices))
        else:
            now += seconds + rng.uniform(-2.0, 1.0)
            if rng.random() < 0.7:
                speaker = rng.choice([other for other in range(len(voices)) if other != speaker])


def ideal(reference: Tensor, rate: int, noise: torch.Generator) -> Tensor:
    return reference


def leaky(reference: Tensor, rate: int, noise: torch.Generator) -> Tensor:
    others = reference.sum(0, keepdim=True) - reference
    hiss = SPEECH_LEVEL * 10 ** (-25 / 20) * torch.randn(reference.shape, generator=noise)
    return reference + 0.2 * others + hiss


def weak(reference: Tensor, rate: int, noise: torch.Generator) -> Tensor:
    others = reference.sum(0, keepdim=True) - reference
    steps = torch.randn(reference.shape[0], 1, 2 + reference.shape[1] * 2 // rate, generator=noise)
    steps = torch.nn.functional.interpolate(steps, reference.shape[1], mode="linear")[:, 0]
    leak = (0.42 * torch.exp(0.6 * steps)).clamp(max=1.2)
    hiss = SPEECH_LEVEL * 10 ** (-25 / 20) * torch.randn(reference.shape, generator=noise)
    return (1 - 0.3 * leak) * reference + leak * others + hiss


CONDITIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {"ideal": ideal, "leaky": leaky, "weak": weak}


def build_model_condition(name: str) -> Callable[[Tensor, int, torch.Generator], Tensor]:
    """A condition whose estimates come from a trained model: from the sum of the references, put in their order."""
    model = load_model(name)

    def estimate(reference: Tensor, rate: int, noise: torch.Generator) -> Tensor:
        if rate != model.spec.sample_rate:
            raise SystemExit(f"{name} works at {model.spec.sample_rate} Hz: pass --rate {model.spec.sample_rate}")
        mixture = reference.sum(0)
        level = mixture.square().mean().sqrt() / SPEECH_LEVEL
        if level == 0:
            return torch.zeros_like(reference)
        with torch.inference_mode():
            found = model((mixture / level)[None, None])[0, :, 0] * level
        return found[list(align(found, reference))]

    return estimate


def cut_pieces(references: np.ndarray, rate: int, condition: Callable, seed: int, stereo: bool) -> Iterator[Piece]:
    """The estimates of each chunk in a random order; in stereo the speakers stand left and right of the middle."""
    rng, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    at_rate = torch.from_numpy(np.stack([soxr.resample(reference, CORPUS_RATE, rate) for reference in references]))
    # Every other conversation has faint room noise, 60 dB below the speech, in the estimates.
    room = SPEECH_LEVEL * 1e-3 * (seed % 2)
    channels = [torch.ones(len(references))]
    if stereo:
        channels = [torch.linspace(1.0, 0.4, len(references)), torch.linspace(0.4, 1.0, len(references))]
    size, hop = int(CHUNK_SECONDS * rate), int((CHUNK_SECONDS - OVERLAP_SECONDS) * rate)
    for chunk, start in enumerate(range(0, at_rate.shape[1] - int(OVERLAP_SECONDS * rate), hop)):
        part = at_rate[:, start : start + size]
        frames = part[:, : part.shape[1] // 160 * 160].reshape(len(part), -1, 160).square().mean(-1)
        audible = bool(((frames > (0.1 * SPEECH_LEVEL) ** 2).sum(-1) * 160 / rate > AUDIBLE_SECONDS).any())
        for channel, gains in enumerate(channels):
            estimate = condition(part * gains[:, None], rate, noise)
            estimate = estimate + room * torch.randn(estimate.shape, generator=noise)
            places = list(range(len(references)))
            rng.shuffle(places)
            order = tuple(places.index(speaker) for speaker in range(len(references)))
            yield Piece(
                chunk=chunk, channel=channel, start=start, estimate=estimate[places], order=order, audible=audible
            )


def count_swaps(found: dict[tuple[int, int], tuple[int, ...]], truth: dict[tuple[int, int], tuple[int, ...]]) -> int:
    """Pieces whose order is not the true one, under the numbering of speakers that suits most pieces."""
    votes: dict[tuple[int, ...], int] = defaultdict(int)
    for piece, order in truth.items():
        votes[tuple(order.index(estimate) for estimate in found[piece])] += 1
    return len(truth) - max(votes.values(), default=0)


def is_numbered_by_entry(found: dict, truth: dict, references: np.ndarray) -> bool:
    """Whether slot 1 mostly holds the speaker who is heard first."""
    first = int(np.argmin([np.argmax(np.abs(reference) > 0.5 * SPEECH_LEVEL) for reference in references]))
    return sum(found[piece][0] == order[first] for piece, order in truth.items()) * 2 > len(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--pairs", type=int, default=12, help="conversations per kind of pair and condition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", nargs="+", default=["test"])
    parser.add_argument("--part", default="", help="first letters of the path of the speech, such as ocean")
    parser.add_argument("--kinds", nargs="+", default=["FF", "MM", "FM"], help="sexes of the two (or more) speakers")
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--stereo", action="store_true")
    parser.add_argument("--one-microphone", action="store_true", help="flatten each speaker's long-term spectrum")
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--model", help="score the estimates of a trained model as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    conditions = {name: CONDITIONS[name] for name in options.conditions}
    if options.model:
        conditions[options.model] = build_model_condition(options.model)

    speakers = read_speakers(options.corpus, set(options.splits), options.part)
    print("condition  pair talks pieces  swaps online talks>0 numbered  CPU s/h")
    for name, condition in conditions.items():
        for kind in options.kinds:
            rng = random.Random(f"{options.seed} {kind}")
            counts = defaultdict(float)
            for talk in range(options.pairs):
                chosen: list[str] = []
                for sex in kind:
                    chosen.append(rng.choice(sorted(s for s in speakers if speakers[s][0] == sex and s not in chosen)))
                voices = [read_speech(speakers[speaker][1]) for speaker in chosen]
                if options.one_microphone:
                    voices = [flatten_voice(voice) for voice in voices]
                references = build_conversation(voices, options.minutes, rng)
                sizes = len(kind), options.rate, int(OVERLAP_SECONDS * options.rate)
                tracker, live = RecordingTracker(*sizes), OnlineTracker(*sizes)
                truth, online = {}, {}
                for piece in cut_pieces(references, options.rate, condition, talk, options.stereo):
                    place = piece.chunk, piece.channel
                    before = time.process_time()
                    tracker.observe(*place, piece.start, piece.estimate)
                    counts["cpu"] += time.process_time() - before
                    online[place] = live.track(*place, piece.start, piece.estimate)[0]
                    if piece.audible:
                        truth[place] = piece.order
                before = time.process_time()
                found = tracker.solve().orders
                counts["cpu"] += time.process_time() - before
                swaps = count_swaps(found, truth)
                counts["pieces"] += len(truth)
                counts["swaps"] += swaps
                counts["online"] += count_swaps(online, truth)
                counts["bad"] += swaps > 0
                counts["numbered"] += is_numbered_by_entry(found, truth, references)
                if swaps:
                    print(f"  {name} {talk} {' '.join(chosen)}: {swaps} of {len(truth)} pieces", flush=True)
            hours = options.pairs * options.minutes / 60
            print(
                f"{name:10} {kind:4} {options.pairs:5} {counts['pieces']:6.0f} {counts['swaps']:6.0f}"
                f" {counts['online']:6.0f} {counts['bad']:7.0f} {counts['numbered']:8.0f} {counts['cpu'] / hours:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
