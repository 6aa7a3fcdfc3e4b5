"""Songs that a synthesiser has made, written as folders of one file per stem."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unbraid.audio.formats import Encoding
from unbraid.audio.writing import write_audio
from unbraid.files.names import printable
from unbraid.files.pending import writing_to

_PEAK = 0.9
"""ours: of the sum of the stems; all are scaled alike."""


def align_stems(stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As long as the longest, and scaled so that their sum does not clip."""
    length = max(samples.shape[1] for samples in stems.values())
    padded = {
        stem: np.pad(samples, ((0, 0), (0, length - samples.shape[1]))).astype(np.float32)
        for stem, samples in stems.items()
    }
    peak = max(float(np.abs(sum(padded.values())).max()), *(float(np.abs(part).max()) for part in padded.values()))
    return {stem: samples * np.float32(_PEAK / max(peak, 1e-6)) for stem, samples in padded.items()}


def write_stem_folder(folder: Path, stems: Mapping[str, np.ndarray], sample_rate: int) -> None:
    """The folder gets its name when all stems are in it."""
    with writing_to(f"'{printable(folder)}'"):
        scratch = folder.with_name(f".{folder.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        scratch.mkdir(parents=True)
        try:
            for stem, samples in stems.items():
                write_audio(scratch / f"{stem}.flac", samples, sample_rate, Encoding(container="flac", sample="int16"))
            os.replace(scratch, folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
