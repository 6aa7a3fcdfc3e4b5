"""Song folders, MUSDB18 and MUSDB18-HQ."""

import os
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.data.builders import noise, sweep, write, write_mp4, write_song
from unbraid.data.clips import read_clip, read_source
from unbraid.data.layouts.layout import NoSplitError, share_out
from unbraid.data.layouts.musdb18 import VALIDATION_SONGS
from unbraid.data.open import open_dataset, open_splits
from unbraid.errors import DataError, UnknownNameError
from unbraid.evaluation.matching.source_names import fold

STEMS = ("vocals", "drums", "bass", "other")


def names(dataset):
    return {item.name for item in dataset.items}


def test_songs_in_split_folders(tmp_path):
    for split, count in (("train", 3), ("valid", 1), ("test", 2)):
        for number in range(count):
            write_song(tmp_path / split / f"song {number}")
    train, valid, test = open_splits(tmp_path)
    assert train.layout == "songs"
    assert [len(one.items) for one in (train, valid, test)] == [3, 1, 2]
    assert train.sources == STEMS
    assert not train.exchangeable
    item = train.items[0]
    stems = [read_source(item.sources[stem], 0, 4000, 8000) for stem in STEMS]
    assert item.mixture is not None
    assert np.allclose(sum(stems), read_clip(item.mixture, 0, 4000, 8000), atol=1e-3)


def test_a_stem_that_is_missing_is_not_there(tmp_path):
    write_song(tmp_path / "train" / "one", stems=("vocals", "drums", "bass"), mixture=False)
    write_song(tmp_path / "train" / "two", stems=("drums", "vocals", "guitar"))
    write_song(tmp_path / "valid" / "three")
    dataset = open_dataset(tmp_path, "train")
    one, two = dataset.items
    assert set(one.sources) == {"vocals", "drums", "bass"}
    assert one.mixture is None
    assert set(two.sources) == {"drums", "vocals", "guitar"}
    assert dataset.sources == ("vocals", "drums", "bass", "guitar")


def test_a_flat_folder_is_shared_out_by_name(tmp_path):
    for number in range(12):
        write_song(tmp_path / f"song {number}", mixture=False, extension="flac")
    splits = open_splits(tmp_path)
    assert [dataset.split for dataset in splits] == ["train", "valid", "test"]
    assert [len(dataset.items) for dataset in splits] == [10, 1, 1]
    assert len(set.union(*map(names, splits))) == 12
    assert names(open_dataset(tmp_path, "valid")) == names(splits[1])


@given(st.sets(st.text(min_size=1, max_size=8), min_size=3, max_size=60))
def test_shares_are_stable(songs):
    shares = share_out(songs)
    assert set(shares) == songs
    assert set(shares.values()) == {"train", "valid", "test"}
    assert shares == share_out(sorted(songs, reverse=True))
    grown = share_out({*songs, "one more song"})
    assert sum(shares[song] != grown[song] for song in songs) <= 2


def test_names_that_are_no_utf8_have_their_share():
    assert set(share_out(["a", "sch\udcf6n", "\udcff"])) == {"a", "sch\udcf6n", "\udcff"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_songs_and_stems_whose_names_are_no_utf8_have_names_that_can_be_written(tmp_path):
    song = tmp_path / os.fsdecode(b"train/sch\xf6n")
    write_song(tmp_path / "train/song", ("vocals", "drums"))
    (tmp_path / "train/song").rename(song)
    (song / "drums.wav").rename(song / os.fsdecode(b"tr\xf6te.wav"))
    (item,) = open_dataset(tmp_path, "train").items
    assert item.name == "sch\\udcf6n"
    assert item.labels == {"song": "sch\\udcf6n"}
    assert set(item.sources) == {"vocals", "tr\\udcf6te"}
    assert item.sources["tr\\udcf6te"][0].path.is_file()
    # Estimates in folders of the same name are found.
    assert fold(song.name) == fold(item.name)


def test_without_a_folder_for_validation_some_training_songs_are_kept_for_it(tmp_path):
    for number in range(11):
        write_song(tmp_path / "train" / f"song {number}")
    train, valid = open_splits(tmp_path)
    assert (len(train.items), len(valid.items)) == (10, 1)
    assert not names(train) & names(valid)
    with pytest.raises(NoSplitError, match="test"):
        open_dataset(tmp_path, "test")


def test_one_stem_twice_is_refused(tmp_path):
    write_song(tmp_path / "train" / "song")
    write(tmp_path / "train" / "song" / "vocals.flac", noise(0))
    with pytest.raises(DataError, match="vocals more than once"):
        open_dataset(tmp_path, "train")


def test_sums_that_converters_write_are_no_stems(tmp_path):
    write_song(tmp_path / "train" / "song", stems=(*STEMS, "accompaniment"))
    write(tmp_path / "train" / "song" / "linear_mixture.wav", noise(0))
    assert open_dataset(tmp_path, "train").sources == STEMS


def write_musdb(root, write_one):
    validation = sorted(VALIDATION_SONGS)
    for name in [*validation[:2], "Some Band - One", "Some Band - Two", "Some Band - Three"]:
        write_one(root / "train" / name)
    write_one(root / "test" / "Other Band - Four")
    return set(validation[:2])


def test_musdb18_hq_has_its_agreed_validation_songs(tmp_path):
    validation = write_musdb(tmp_path, write_song)
    assert len(VALIDATION_SONGS) == 14
    train, valid, test = open_splits(tmp_path)
    assert {dataset.layout for dataset in (train, valid, test)} == {"musdb18-hq"}
    assert names(valid) == validation
    assert names(train) == {"Some Band - One", "Some Band - Two", "Some Band - Three"}
    assert names(test) == {"Other Band - Four"}
    assert train.sources == STEMS


def test_musdb18_can_be_trained_on_whole(tmp_path):
    validation = write_musdb(tmp_path, write_song)
    for layout in ("musdb18-hq:full-train", "auto:full-train"):
        train, valid = (open_dataset(tmp_path, split, layout) for split in ("train", "valid"))
        assert names(train) == {"Some Band - One", "Some Band - Two", "Some Band - Three", *validation}
        assert names(valid) == validation
    with pytest.raises(UnknownNameError, match=r"'musdb18-hq' has no option 'whole'; it has: full-train"):
        open_dataset(tmp_path, "train", "auto:whole")


def test_musdb18_hq_with_the_validation_songs_in_a_folder_of_their_own(tmp_path):
    validation = write_musdb(tmp_path, write_song)
    for name in validation:
        write_song(tmp_path / "valid" / name)
    assert names(open_dataset(tmp_path, "valid")) == validation
    assert len(open_dataset(tmp_path, "valid").items) == 2
    assert not names(open_dataset(tmp_path, "train")) & validation


def test_musdb18_reads_the_streams_of_its_mp4(tmp_path):
    drums, bass, other, vocals = (sweep(n, seconds=1.0) for n in range(4))
    streams = [drums + bass + other + vocals, drums, bass, other, vocals]

    def write_one(folder):
        write_mp4(folder.with_name(f"{folder.name}.stem.mp4"), streams)

    validation = write_musdb(tmp_path, write_one)
    train, valid, test = open_splits(tmp_path)
    assert train.layout == "musdb18"
    assert names(valid) == validation
    assert names(test) == {"Other Band - Four"}
    item = train.items[0]
    for stem, original in zip(("drums", "bass", "other", "vocals"), (drums, bass, other, vocals), strict=True):
        samples = read_source(item.sources[stem], 10_000, 20_000, 44100)
        assert np.allclose(samples, original[10_000:30_000].T, atol=0.02), stem


def test_what_is_no_data_set_is_refused_with_what_was_found(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(DataError, match=r"notes/, readme\.txt"):
        open_dataset(tmp_path, "train")
    with pytest.raises(DataError, match=r"not laid out as 'musdb18-hq'.*readme\.txt"):
        open_dataset(tmp_path, "train", "musdb18-hq")
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "nowhere", "train")


def test_headers_alone_are_read(tmp_path, monkeypatch):
    write_song(tmp_path / "train" / "song")
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert open_dataset(tmp_path, "train").items[0].sources["vocals"][0].num_samples == 4000
