from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbraid.evaluation.scores import Scores, TargetScore, TrackScore

RATE = 8000
STEMS = ("vocals", "drums", "other")


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, "FLOAT" if path.suffix.lower() == ".wav" else None)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs of stereo noise with three stems, 3.2 to 5.2 s long; vocals are silent in the last one."""
    root = tmp_path / "songs"
    for number in range(3):
        rng = np.random.default_rng(number)
        stems = {stem: 0.1 * rng.standard_normal((2, round((3.2 + number) * RATE))) for stem in STEMS}
        if number == 2:
            stems["vocals"][:] = 0
        for stem, samples in stems.items():
            write(root / f"Song {number}" / f"{stem}.wav", samples)
        write(root / f"Song {number}" / "mixture.wav", np.sum(list(stems.values()), axis=0))
    return root


@pytest.fixture
def estimates(songs: Path, tmp_path: Path) -> Path:
    """Another tool's folder: every stem with an error 20 dB below it."""
    root = tmp_path / "tool"
    for path in songs.glob("*/*.wav"):
        if path.stem != "mixture":
            samples = soundfile.read(path)[0].T
            error = np.random.default_rng(len(path.stem)).standard_normal(samples.shape)
            write(root / path.parent.name / path.name, samples + 0.01 * error)
    return root


@pytest.fixture
def make_scores() -> Callable[..., Scores]:
    """Scores of speakers from a list of improvements, one for each track."""

    def make(values: list[float], *, names: list[str] | None = None, labels: list[dict[str, str]] | None = None):
        tracks = tuple(
            TrackScore(
                name=names[index] if names else f"{index:04d}",
                seconds=2.0,
                labels=labels[index] if labels else {},
                targets=tuple(
                    TargetScore(source=source, estimate=source, metrics={"SI-SDRi": value, "SNR": value + 1})
                    for source in ("speaker1", "speaker2")
                ),
                model_seconds=0.5,
            )
            for index, value in enumerate(values)
        )
        return Scores(
            estimates={"kind": "model", "name": "some", "sha256": "", "settings": {}},
            data={"name": "some list", "layout": "list", "sources": ["speaker1", "speaker2"], "exchangeable": True},
            metrics=("SI-SDRi", "SNR"),
            tracks=tracks,
        )

    return make
