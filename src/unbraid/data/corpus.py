"""Read speech with known speakers: a folder with a manifest and one file per utterance.

`manifest.csv` has the columns path, speaker, sex, split, seconds, licence; paths are relative to the manifest.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from unbraid.errors import DataError

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Utterance:
    path: str
    speaker: str
    sex: str
    seconds: float

    @property
    def collection(self) -> str:
        """First folder of the path: which collection the utterance is from."""
        return self.path.split("/", 1)[0]


class SpeechCorpus:
    """The utterances of one split, by speaker; audio is decoded on first use and kept as int16 up to `cache_bytes`."""

    def __init__(self, root: Path, utterances: list[Utterance], sample_rate: int, cache_bytes: int = 2**30) -> None:
        self.root, self.utterances, self.sample_rate = root, utterances, sample_rate
        self.by_speaker: dict[str, list[Utterance]] = {}
        for utterance in utterances:
            self.by_speaker.setdefault(utterance.speaker, []).append(utterance)
        self.speakers = sorted(self.by_speaker)
        self.by_path = {utterance.path: utterance for utterance in utterances}
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._cached_bytes, self._cache_bytes = 0, cache_bytes

    @property
    def hours(self) -> float:
        return sum(utterance.seconds for utterance in self.utterances) / 3600

    def read(self, path: str) -> np.ndarray:
        """The whole utterance as int16 samples at the corpus rate."""
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        try:
            samples, rate = soundfile.read(self.root / path, dtype="int16", always_2d=False)
        except (OSError, soundfile.SoundFileError) as error:
            raise DataError(f"cannot read {self.root / path}: {error}") from error
        if rate != self.sample_rate:
            import soxr

            samples = soxr.resample(samples, rate, self.sample_rate)
        self._cache[path] = samples
        self._cached_bytes += samples.nbytes
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return samples


def load_corpus(root: str | Path, split: Split, sample_rate: int) -> SpeechCorpus:
    """Opens the speech part of a corpus; `root` is the folder of its manifest or the folder above `speech/`."""
    root = Path(root)
    if not (root / "manifest.csv").is_file() and (root / "speech" / "manifest.csv").is_file():
        root = root / "speech"
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise DataError(
            f"no speech corpus at {root}: expected {manifest} with the columns path, speaker, sex, split, seconds"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        utterances = [
            Utterance(row["path"], row["speaker"], row.get("sex", ""), float(row["seconds"]))
            for row in rows
            if row["split"] == split
        ]
    except (KeyError, ValueError) as error:
        raise DataError(f"{manifest} needs the columns path, speaker, split and seconds: {error}") from error
    corpus = SpeechCorpus(root, utterances, sample_rate)
    if len(corpus.speakers) < 2:
        raise DataError(f"{manifest} has {len(corpus.speakers)} speakers in the split '{split}'; two are needed")
    return corpus
