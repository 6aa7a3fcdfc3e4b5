"""Every kind of defect that is planted is found, and a data set without any is left in peace."""

import shutil

import numpy as np
import pytest
import soundfile

from tests.data.builders import depth, noise, sweep, write, write_csv, write_song
from unbraid.data.check.check import Opened, Scanned, check_data
from unbraid.data.check.findings import KINDS, Finding
from unbraid.errors import DataError


@pytest.fixture
def songs(tmp_path):
    for split, number in (("train", 0), ("train", 1), ("valid", 2), ("test", 3)):
        write_song(tmp_path / split / f"song {number}")
    return tmp_path


def findings(root, layout="auto", **settings):
    return [event for event in check_data(root, layout, **settings) if isinstance(event, Finding)]


def kinds(root, layout="auto", **settings):
    return {finding.kind for finding in findings(root, layout, **settings)}


def only(root, kind, layout="auto"):
    """The one finding there is."""
    (finding,) = findings(root, layout)
    assert finding.kind == kind, finding
    return finding


def rewrite(path, change, rate=8000):
    samples, rate = soundfile.read(path, always_2d=True)
    soundfile.write(path, change(samples), rate, subtype="FLOAT")


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_good_data_set_has_no_findings_and_its_figures(songs, jobs):
    events = list(check_data(songs, jobs=jobs))
    opened = events[0]
    assert isinstance(opened, Opened)
    assert opened.layout == "songs"
    assert [(split.split, split.num_items, split.num_mixtures) for split in opened.splits] == [
        ("train", 2, 2),
        ("valid", 1, 1),
        ("test", 1, 1),
    ]
    assert opened.splits[0].seconds == pytest.approx(1.0)
    assert opened.splits[0].audio_seconds == pytest.approx(5.0)
    assert opened.splits[0].source_seconds["bass"] == pytest.approx(1.0)
    scanned = [event for event in events if isinstance(event, Scanned)]
    assert len(scanned) == 4
    assert scanned[-1].done_seconds == pytest.approx(scanned[-1].total_seconds)
    assert len(events) == 5


def test_files_that_cannot_be_opened_are_all_listed(songs):
    (songs / "train" / "song 0" / "drums.wav").write_bytes(b"")
    (songs / "valid" / "song 2" / "bass.wav").write_bytes(b"not audio")
    found = findings(songs)
    assert {finding.kind for finding in found} == {"unreadable"}
    assert "0 bytes" in found[0].detail


def test_damaged_files_are_named_beside_those_that_cannot_be_opened(songs):
    """Of every split, so that nobody runs it twice."""
    song = songs / "train" / "song 1"
    shutil.rmtree(song)
    write_song(song, extension="flac", seconds=3)
    path = song / "drums.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (songs / "train" / "song 0" / "drums.wav").write_bytes(b"")
    (songs / "valid" / "song 2" / "bass.wav").write_bytes(b"<html>")
    assert [(finding.kind, finding.place) for finding in findings(songs)] == [
        ("unreadable", "train/song 0/drums.wav"),
        ("unreadable", "valid/song 2/bass.wav"),
        ("unreadable", "train/song 1/drums.flac"),
    ]


def test_a_file_that_is_damaged_in_the_middle(songs):
    shutil.rmtree(songs / "train" / "song 1")
    song = songs / "train" / "song 1"
    write_song(song, extension="flac", seconds=3)
    path = song / "drums.flac"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    assert only(songs, "unreadable").place == "train/song 1/drums.flac"


def test_a_file_that_was_cut_short(songs):
    path = songs / "train" / "song 0" / "drums.wav"
    path.write_bytes(path.read_bytes()[:-4000])
    assert {finding.kind: finding.place for finding in findings(songs)} == {
        "truncated": "train/song 0/drums.wav",
        "unequal-lengths": "song 0",
    }


def test_samples_that_are_not_numbers(songs):
    def spoil(samples):
        samples[100] = np.nan
        return samples

    rewrite(songs / "test" / "song 3" / "bass.wav", spoil)
    assert "not-numbers" in kinds(songs)


def test_clipping(songs):
    path = songs / "train" / "song 0"
    rewrite(path / "vocals.wav", lambda samples: np.clip(40 * samples, -1, 1))
    (path / "mixture.wav").unlink()
    finding = only(songs, "clipping")
    assert finding.place == "train/song 0/vocals.wav"
    assert finding.severity == "warning"


def test_one_sample_at_full_scale_is_no_clipping(songs):
    def peak(samples):
        samples[50] = 1
        return samples

    path = songs / "train" / "song 0"
    rewrite(path / "vocals.wav", peak)
    (path / "mixture.wav").unlink()
    assert not findings(songs)


def test_silence(songs):
    path = songs / "train" / "song 0"
    rewrite(path / "vocals.wav", lambda samples: 0 * samples)
    (path / "mixture.wav").unlink()
    assert only(songs, "silent").place == "train/song 0/vocals.wav"


def test_missing_stems(songs):
    (songs / "train" / "song 1" / "bass.wav").unlink()
    (songs / "train" / "song 1" / "mixture.wav").unlink()
    finding = only(songs, "missing-stems")
    assert (finding.place, finding.detail) == ("song 1", "no bass")


def test_unequal_lengths(songs):
    rewrite(songs / "train" / "song 1" / "bass.wav", lambda samples: samples[:2000])
    finding = only(songs, "unequal-lengths")
    assert "bass 0.25 s" in finding.detail


def test_unequal_rates(songs):
    write(songs / "train" / "song 1" / "bass.wav", noise(1, rate=16000, channels=2), 16000)
    assert kinds(songs) == {"unequal-rates", "mixed-rates"}


def test_mixtures_of_other_stems(songs):
    shutil.copy(songs / "test" / "song 3" / "bass.wav", songs / "train" / "song 0" / "mixture.wav")
    assert {"unrelated-mixture", "leak"} == kinds(songs)


def test_mixtures_with_another_gain(songs):
    rewrite(songs / "train" / "song 0" / "mixture.wav", lambda samples: 0.5 * samples)
    finding = only(songs, "unrelated-mixture")
    assert "multiplied by 0.500" in finding.detail


def test_mixtures_that_are_nearly_the_sum(songs):
    rewrite(songs / "train" / "song 0" / "mixture.wav", lambda samples: 1.05 * samples)
    assert only(songs, "inexact-mixture").severity == "warning"


def test_lossy_formats_may_differ_a_little(tmp_path):
    stems = {name: sweep(number, seconds=1.0) for number, name in enumerate(("vocals", "drums"))}
    for name, samples in stems.items():
        write(tmp_path / "a" / f"{name}.ogg", samples, 44100)
    write(tmp_path / "a" / "mixture.ogg", 1.03 * sum(stems.values()), 44100)
    assert kinds(tmp_path) == {"no-split"}
    write(tmp_path / "a" / "mixture.ogg", 1.15 * sum(stems.values()), 44100)
    assert kinds(tmp_path) == {"no-split", "inexact-mixture"}


def test_a_recording_in_two_splits_is_an_error_whatever_its_format(songs):
    samples, rate = soundfile.read(songs / "train" / "song 0" / "vocals.wav")
    (songs / "test" / "song 3" / "vocals.wav").unlink()
    write(songs / "test" / "song 3" / "vocals.flac", samples, rate)
    (songs / "test" / "song 3" / "mixture.wav").unlink()
    finding = only(songs, "leak")
    assert finding.severity == "error"
    assert "song 0/vocals.wav (train)" in f"{finding.place} {finding.detail}"
    assert "song 3/vocals.flac (test)" in f"{finding.place} {finding.detail}"


def test_a_recording_twice_in_a_split(songs):
    shutil.copytree(songs / "train" / "song 0", songs / "train" / "song 0 copy")
    assert kinds(songs) == {"repeated"}


def test_splits_that_are_not_there(songs):
    shutil.rmtree(songs / "test")
    assert only(songs, "no-split").place == "test"
    assert not findings(songs, splits=["train"])


def test_rates_channels_and_formats_that_differ(songs):
    song = songs / "train" / "song 5"
    write_song(song, stems=("vocals", "drums", "bass", "other"), rate=16000, mixture=False, channels=1)
    assert kinds(songs) == {"mixed-rates", "mixed-channels"}
    write(song / "vocals.mp3", noise(7, rate=16000), 16000)
    (song / "vocals.wav").unlink()
    assert "slow-format" in kinds(songs)


def test_speakers_in_two_splits(tmp_path):
    rows = []
    for index, (split, speaker) in enumerate((("train", "ann"), ("valid", "ann"), ("test", "bob"))):
        write(tmp_path / f"{index}.flac", noise(index), **depth("flac"))
        rows.append({"path": f"{index}.flac", "split": split, "speaker": speaker})
    write_csv(tmp_path / "manifest.csv", rows)
    finding = only(tmp_path, "shared-speakers")
    assert (finding.place, finding.detail) == ("ann", "in train, valid")


def test_an_utterance_may_be_in_many_mixtures_of_speakers(tmp_path):
    for name in ("a_1_b_-1", "a_1_c_-1"):
        for source in ("s1", "s2"):
            write(tmp_path / "tr" / source / f"{name}.wav", noise("a" if source == "s1" else name), subtype="FLOAT")
        mixture = noise("a") + noise(name)
        write(tmp_path / "tr" / "mix" / f"{name}.wav", mixture, subtype="FLOAT")
    assert kinds(tmp_path) == {"no-split"}


def test_reverberant_mixtures_need_not_be_sums(tmp_path):
    for folder in ("mix_both_reverb", "s1_anechoic", "s2_anechoic", "noise"):
        write(tmp_path / "tr" / folder / "a_1_b_-1.wav", noise(folder))
    assert not kinds(tmp_path, "whamr", splits=["train"])


def test_every_kind_has_advice():
    assert all(kind.title and kind.advice for kind in KINDS.values())


def test_an_unknown_layout_is_an_error(tmp_path):
    with pytest.raises(DataError, match="`LAYOUTS`"):
        list(check_data(tmp_path))
