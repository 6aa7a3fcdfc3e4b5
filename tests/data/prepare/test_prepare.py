"""Preparing data: what comes out, that it goes on where it stopped, and that nothing half-written stays."""

import csv
import shutil

import numpy as np
import pytest
import soundfile
import soxr

from tests.data.builders import noise, sweep, write, write_csv, write_mp4, write_song
from unbraid.data.clips import read_source
from unbraid.data.open import open_dataset, open_splits
from unbraid.data.prepare.activity import prepare_activity
from unbraid.data.prepare.resample import prepare_resample
from unbraid.data.prepare.tasks import Failed, Planned, Prepared, Wrote
from unbraid.errors import ConfigError, DataError


def of_type(kind, events):
    return [event for event in events if isinstance(event, kind)]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def songs(tmp_path):
    """Vocals rest in the first half."""
    root = tmp_path / "songs"
    for split in ("train", "valid"):
        write_song(root / split / "song", seconds=40, rate=1000)
        vocals, _ = soundfile.read(root / split / "song" / "vocals.wav")
        vocals[:20_000] = 0
        write(root / split / "song" / "vocals.wav", vocals, 1000)
        (root / split / "song" / "mixture.wav").unlink()
    return root


def test_the_list_of_activity_is_a_data_set_of_its_own(songs):
    events = list(prepare_activity(songs, jobs=2))
    assert events[0] == Planned(4)
    assert of_type(Wrote, events)[0].path.endswith("activity.csv")
    train, valid = open_splits(songs / "activity.csv")
    assert train.sources == ("vocals", "drums", "bass", "other")
    assert all(len(item.sources) == 1 for item in train.items)
    segments = [clips[0] for item in train.items for clips in item.sources.values()]
    assert {clip.num_samples for clip in segments} == {8000}
    vocals = [item.sources["vocals"][0].start for item in train.items if "vocals" in item.sources]
    assert vocals == [16_000, 20_000, 24_000, 28_000, 32_000]
    assert all(
        read_source(item.sources["vocals"], 0, 8000, 1000).any() for item in train.items if "vocals" in item.sources
    )
    assert [set(item.sources) for item in valid.items] == [{"vocals", "drums", "bass", "other"}]
    assert valid.items[0].sources["vocals"][0].num_samples == 40_000
    assert {row["path"].split("/")[0] for row in csv.DictReader((songs / "activity.csv").open())} == {"train", "valid"}


def test_the_list_of_activity_knows_streams_and_sums(tmp_path):
    streams = [sweep(n, seconds=9.0) for n in range(5)]
    write_mp4(tmp_path / "musdb" / "train" / "A - B.stem.mp4", streams)
    list(prepare_activity(tmp_path / "musdb", tmp_path / "lists" / "active.csv"))
    dataset = open_dataset(tmp_path / "lists" / "active.csv", "train")
    bass = next(item for item in dataset.items if "bass" in item.sources)
    assert bass.sources["bass"][0].stream == 2
    assert np.allclose(
        read_source(bass.sources["bass"], 100_000, 5000, 44100), streams[2].T[:, 100_000:105_000], atol=0.02
    )


def test_a_stem_that_cannot_be_read_makes_no_list(songs):
    path = songs / "train" / "song" / "drums.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path.with_suffix(".flac"), samples, rate)
    path.unlink()
    content = bytearray(path.with_suffix(".flac").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.with_suffix(".flac").write_bytes(content)
    events = []
    with pytest.raises(DataError, match="1 sources cannot be read"):
        events.extend(prepare_activity(songs))
    assert not [*songs.glob("activity*"), *songs.glob(".*")]


def test_a_list_that_is_stopped_leaves_nothing(songs):
    events = prepare_activity(songs)
    assert isinstance(next(events), Planned)
    next(events)
    events.close()
    assert not [*songs.glob("activity*"), *songs.glob(".*")]


def test_speakers_have_no_activity(corpus_root):
    with pytest.raises(DataError, match="speakers"):
        list(prepare_activity(corpus_root))


@pytest.fixture
def mixed(tmp_path):
    root = tmp_path / "data"
    write(root / "a" / "one.wav", noise(1, seconds=1, rate=16000), 16000, subtype="PCM_24")
    write(root / "a" / "two.flac", noise(2, seconds=1, rate=16000, channels=2), 16000)
    write(root / "b" / "three.ogg", noise(3, seconds=1, rate=16000), 16000)
    write_csv(root / "manifest.csv", [{"path": "b/three.ogg", "speaker": "x", "start": "1601", "num_samples": "8000"}])
    (root / "readme.txt").write_text("hello")
    (root / ".hidden").write_text("not this")
    return root


def test_a_copy_at_another_rate_keeps_the_tree(mixed, tmp_path):
    out = tmp_path / "copy"
    events = list(prepare_resample(mixed, out, 8000, jobs=2))
    assert not of_type(Failed, events)
    assert files(out) == ["a/one.wav", "a/two.flac", "b/three.flac", "manifest.csv", "readme.txt"]
    info = soundfile.info(out / "a" / "one.wav")
    assert (info.samplerate, info.frames, info.subtype) == (8000, 8000, "PCM_24")
    source, _ = soundfile.read(mixed / "a" / "two.flac")
    expected = soxr.resample(source, 16000, 8000, quality="VHQ")
    samples, rate = soundfile.read(out / "a" / "two.flac")
    assert rate == 8000
    assert np.abs(samples - expected).max() < 1e-4
    (row,) = csv.DictReader((out / "manifest.csv").open())
    assert row == {"path": "b/three.flac", "speaker": "x", "start": "801", "num_samples": "4000"}
    assert open_dataset(out / "manifest.csv", "train").items[0].sources["speech"][0].num_samples == 4000


def test_a_copy_goes_on_where_it_stopped(mixed, tmp_path):
    out = tmp_path / "copy"
    stopped = prepare_resample(mixed, out, 8000)
    for event in stopped:
        if isinstance(event, Prepared):
            break
    stopped.close()
    assert not [path for path in out.rglob(".*")]
    done = len(files(out))
    assert 1 <= done < 5
    (out / "a" / "one.wav").touch()
    events = of_type(Prepared, prepare_resample(mixed, out, 8000))
    assert sum(event.skipped for event in events) == done
    assert len(files(out)) == 5


def test_one_bad_file_does_not_stop_the_others(mixed, tmp_path):
    (mixed / "a" / "bad.wav").write_bytes(b"not audio")
    events = list(prepare_resample(mixed, tmp_path / "copy", 8000))
    (failed,) = of_type(Failed, events)
    assert failed.name == "a/bad.wav"
    assert len(of_type(Prepared, events)) == 5


def test_a_copy_at_a_third_rate_is_not_mixed_up_with_it(mixed, tmp_path):
    list(prepare_resample(mixed, tmp_path / "copy", 8000))
    failed = of_type(Failed, prepare_resample(mixed, tmp_path / "copy", 11025))
    assert len(failed) == 3
    assert "at 8000 Hz" in failed[0].message


def test_stem_mp4_become_folders(tmp_path):
    streams = [sweep(n, seconds=1.0) for n in range(5)]
    write_mp4(tmp_path / "musdb" / "test" / "A - B.stem.mp4", streams)
    write_mp4(tmp_path / "musdb" / "train" / "C - D.stem.mp4", streams)
    assert not of_type(Failed, prepare_resample(tmp_path / "musdb", tmp_path / "copy", 22050))
    dataset = open_dataset(tmp_path / "copy", "test")
    assert dataset.sources == ("vocals", "drums", "bass", "other")
    assert dataset.items[0].mixture.sample_rate == 22050
    expected = soxr.resample(streams[1], 44100, 22050)
    assert np.allclose(read_source(dataset.items[0].sources["drums"], 0, 22050, 22050), expected.T, atol=0.02)


@pytest.mark.parametrize(
    ("out", "rate", "error", "sentence"),
    [
        ("data", 8000, DataError, "inside the data set"),
        ("data/copy", 8000, DataError, "inside the data set"),
        ("copy", 7, ConfigError, "7 Hz"),
    ],
)
def test_copies_that_make_no_sense_are_refused(mixed, tmp_path, out, rate, error, sentence):
    with pytest.raises(error, match=sentence):
        list(prepare_resample(mixed, tmp_path / out, rate))


def test_a_folder_without_recordings_is_refused(tmp_path):
    shutil.copy(__file__, tmp_path / "a.txt")
    with pytest.raises(DataError, match="no recordings"):
        list(prepare_resample(tmp_path, tmp_path.parent / "copy", 8000))
