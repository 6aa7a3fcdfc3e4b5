"""How far stems differ between numbers of threads and batch sizes, and what `--deterministic` costs.

    python -m benchmarks.engine.determinism

Every bundled model hears eight seconds of the example that it is for, first as it comes and then deterministic.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import torch

from unbraid import Recording, Separator
from unbraid.weights.store import bundled_models

EXAMPLES = Path(__file__).parents[2] / "examples"
WAYS = ((1, 1), (1, 4), (2, 1), (2, 3))
"""Threads and batch size; the first is what the others are compared with."""


def run() -> None:
    print("| model | differs by threads, at most | by batch size | deterministic | processor seconds | deterministic |")
    print("|---|---|---|---|---|---|")
    for name in bundled_models():
        folder = {"cinematic": "film/film-1", "music": "song/song-1"}.get(name, "two-speakers-1")
        recording = Recording.read(EXAMPLES / folder / "mixture.flac")
        recording = Recording(recording.samples[:, : 8 * recording.sample_rate], recording.sample_rate)
        plain, seconds = _stems(name, recording, deterministic=False)
        fixed, fixed_seconds = _stems(name, recording, deterministic=True)
        threads = np.abs(plain[2] - plain[0]).max()
        batches = max(np.abs(plain[1] - plain[0]).max(), np.abs(plain[3] - plain[2]).max())
        same = len({hashlib.sha256(stems.tobytes()).hexdigest() for stems in fixed}) == 1
        print(
            f"| {name} | {threads:.1g} | {batches:.1g} | {'the same bytes' if same else 'NOT the same bytes'} | "
            f"{seconds:.1f} | {fixed_seconds:.1f} |",
            flush=True,
        )


def _stems(name: str, recording: Recording, *, deterministic: bool) -> tuple[list[np.ndarray], float]:
    """Stems in every way, and the processor time of all."""
    given, began = [], time.process_time()
    for threads, batch_size in WAYS:
        torch.set_num_threads(threads)
        separator = Separator(name, device="cpu", batch_size=batch_size, deterministic=deterministic)
        stems = separator.separate(recording)
        given.append(np.concatenate([stem.samples for stem in stems.values()]))
    return given, time.process_time() - began


if __name__ == "__main__":
    run()
