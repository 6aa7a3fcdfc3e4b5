"""A data set packed into few megabytes."""

import csv

import numpy as np
import pytest
import soundfile

from unbraid.data.open import open_dataset
from unbraid.data.prepare.pack import prepare_pack
from unbraid.data.prepare.tasks import Prepared, Wrote
from unbraid.errors import ConfigError, DataError


def test_a_corpus_is_packed_in_its_layout_and_length(corpus_root, tmp_path):
    out = tmp_path / "pack"
    events = list(prepare_pack(corpus_root, out, sample_rate=8000, megabytes=0.14))
    assert sum(isinstance(event, Prepared) and not event.skipped for event in events) == 24
    assert isinstance(events[-1], Wrote)
    assert sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) < 0.14e6
    for split in ("train", "valid"):
        packed, original = open_dataset(out, split), open_dataset(corpus_root, split)
        assert [item.labels["speaker"] for item in packed.items] == [item.labels["speaker"] for item in original.items]
        for one, other in zip(packed.items, original.items, strict=True):
            (clip,), (before,) = one.sources["speech"], other.sources["speech"]
            assert (clip.path.suffix, clip.num_samples, clip.sample_rate) == (".opus", before.num_samples, 8000)
    samples, _ = soundfile.read(clip.path)
    assert np.corrcoef(samples, soundfile.read(before.path)[0])[0, 1] > 0.95
    again = list(prepare_pack(corpus_root, out, sample_rate=8000, megabytes=0.14))
    assert all(event.skipped for event in again if isinstance(event, Prepared))
    with (out / "manifest.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "valid"}


def test_what_is_small_already_is_copied_and_stereo_becomes_mono(tmp_path):
    rate, root = 48_000, tmp_path / "songs/train/a"
    root.mkdir(parents=True)
    sound = 0.1 * np.random.default_rng(0).standard_normal((rate, 2))
    soundfile.write(root / "drums.wav", sound, rate)
    soundfile.write(root / "bass.opus", sound, rate, format="OGG", subtype="OPUS", compression_level=1.0)
    list(prepare_pack(tmp_path / "songs", tmp_path / "pack", sample_rate=44_100, num_channels=1, megabytes=1.0))
    packed = tmp_path / "pack/train/a"
    assert soundfile.info(packed / "drums.opus").channels == 1
    assert soundfile.info(packed / "drums.opus").samplerate == 48_000
    assert (packed / "bass.opus").read_bytes() == (root / "bass.opus").read_bytes()


def test_what_does_not_fit_is_a_sentence(corpus_root, tmp_path):
    with pytest.raises(ConfigError, match="do not fit into"):
        list(prepare_pack(corpus_root, tmp_path / "pack", sample_rate=8000, megabytes=0.01))
    with pytest.raises(DataError, match="inside the data set"):
        list(prepare_pack(corpus_root, corpus_root / "pack"))
