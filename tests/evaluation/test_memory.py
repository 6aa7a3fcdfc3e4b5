"""How much memory an evaluation takes does not depend on how long its tracks are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import environment
from tests.conftest import PATIENCE_SECONDS

RATE = 44_100
SCRIPT = """
import sys
from pathlib import Path
from unbraid.evaluation.estimates import FolderEstimates
from unbraid.evaluation.evaluate import evaluate
from unbraid.evaluation.measures import find_measures
from unbraid.evaluation.tracks import open_tracks
from unbraid.inspection.profile import highest_so_far
tracks = open_tracks(Path(sys.argv[1]))
events = list(evaluate(FolderEstimates(Path(sys.argv[1]), tracks), tracks, find_measures("uSDR,cSDR,SI-SDR")))
assert events[0].score.seconds == float(sys.argv[2]), events
print(highest_so_far())
"""


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path: Path):
    peaks = {}
    block = (0.1 * np.random.default_rng(0).standard_normal((20 * RATE, 2))).astype(np.float32)
    for seconds in (20, 1200):
        root = tmp_path / str(seconds)
        (root / "song").mkdir(parents=True)
        for stem in ("vocals", "drums", "mixture"):
            with soundfile.SoundFile(root / "song" / f"{stem}.wav", "w", RATE, 2, "PCM_16") as file:
                for _ in range(seconds // 20):
                    file.write(block)
        command = [sys.executable, "-c", SCRIPT, str(root), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, done.stderr
        peaks[seconds] = int(done.stdout)
    print(peaks)
    assert peaks[1200] < 1.15 * peaks[20], peaks
