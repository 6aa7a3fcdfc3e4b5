"""How much the figures of one set of estimates differ by the protocol that they are scored by.

    python -m benchmarks.papers.protocols

Ten songs of 30 s are made of noise, each with four stems in stereo: vocals rest half of the time, drums a quarter, bass
comes after a third of the song, and other lies more to one side the later the song. Estimates leak, and
more in some seconds than in others. Nothing is separated: what differs is the scoring alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile

from unbraid.evaluation.estimates import FolderEstimates
from unbraid.evaluation.evaluate import TrackScored, collect_scores, evaluate
from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.scores import Scores
from unbraid.evaluation.summary import summarise
from unbraid.evaluation.tracks import open_tracks

RATE = 44_100
SONGS, SECONDS = 10, 30
STEMS = ("vocals", "drums", "bass", "other")
FIGURES = (
    ("`museval`, `sfc-musdb` (cSDR)", "cSDR-joint", "median"),
    ("`bytesep`", "cSDR", "median"),
    ("museval's `eval_mus_track`", "cSDR-acc", "median"),
    ("`sfc-musdb` (uSDR)", "uSDR-ch", "mean"),
    ("uSDR of the challenges", "uSDR", "mean"),
    ("`sfc-musdb` (cSDR), mean over songs", "cSDR-joint", "mean"),
)


def song(number: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """References and estimates by stem, (channel, sample)."""
    rng = np.random.default_rng(number)

    def noise(level: np.ndarray) -> np.ndarray:
        return 0.05 * rng.standard_normal((2, SECONDS * RATE)) * np.repeat(level, RATE, axis=-1)

    stems = {stem: noise(rng.uniform(0.3, 1.5, (2, SECONDS))) for stem in STEMS}
    rests = {"vocals": rng.random(SECONDS) < 0.5, "drums": rng.random(SECONDS) < 0.25, "bass": np.arange(SECONDS) < 10}
    for stem, resting in rests.items():
        stems[stem][:, np.repeat(resting, RATE)] = 0
    stems["other"] *= np.array([[1.0], [1 - 0.09 * number]])
    mixture = sum(stems.values())
    found = {}
    for stem, samples in stems.items():
        leak = np.repeat(rng.uniform(0.05, 0.45, SECONDS), RATE)
        found[stem] = samples + leak * (mixture - samples) + noise(rng.uniform(0.02, 0.2, (1, SECONDS)))
    return stems, found


def scored() -> Scores:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SONGS):
            for kind, stems in zip(("songs", "tool"), song(number), strict=True):
                for stem, samples in stems.items():
                    path = Path(folder) / kind / f"Song {number}" / f"{stem}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, samples.T, RATE, "FLOAT")
        tracks = open_tracks(Path(folder) / "songs")
        estimates = FolderEstimates(Path(folder) / "tool", tracks)
        measures = [MEASURES[name] for name in dict.fromkeys(measure for _, measure, _ in FIGURES)]
        events = evaluate(estimates, tracks, measures)
        return collect_scores(estimates, tracks, measures, [e.score for e in events if isinstance(e, TrackScored)])


def main() -> None:
    summary = summarise(scored(), draws=10)
    groups = {group.name: group for group in summary.sources}
    print(f"| scored as | {' | '.join(STEMS)} | average |\n|---|{'---|' * (len(STEMS) + 1)}")
    for name, measure, over in FIGURES:
        values = [getattr(groups[stem].measures[measure], over).value for stem in STEMS]
        row = " | ".join(f"{value:.2f}" for value in (*values, float(np.mean(values))))
        print(f"| {name} | {row} |")


if __name__ == "__main__":
    main()
