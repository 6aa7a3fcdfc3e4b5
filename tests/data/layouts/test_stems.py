"""Data sets of stems besides song folders: DnR, MoisesDB, and folders of unrelated recordings."""

import json

import numpy as np
import pytest

from tests.data.builders import noise, write, write_song
from unbraid.data.clips import read_clip, read_source
from unbraid.data.open import open_dataset, open_splits
from unbraid.errors import DataError


def test_dnr_version_2(tmp_path):
    for split in ("tr", "cv", "tt"):
        folder = tmp_path / "dnr_v2" / split / "1037"
        sounds = write_song(folder, ("speech", "music", "sfx"), mixture=False, channels=1)
        write(folder / "mix.wav", sum(sounds.values()), subtype="FLOAT")
        (folder / "annots.csv").write_text(",file,class\n")
    train, valid, test = open_splits(tmp_path)
    assert [one.layout for one in (train, valid, test)] == ["dnr-v2"] * 3
    assert train.sources == ("dialogue", "music", "effects")
    (item,) = train.items
    parts = [read_source(item.sources[source], 0, 4000, 8000) for source in train.sources]
    assert np.allclose(sum(parts), read_clip(item.mixture, 0, 4000, 8000), atol=1e-3)


@pytest.mark.parametrize("named", ["", "multi", "multi/audio"])
def test_dnr_version_3(tmp_path, named):
    for split in ("train", "val", "test"):
        write_song(
            tmp_path / "multi" / "audio" / split / "000001",
            ("speech", "music", "sfx", "sfx_fg", "sfx_bg"),
            extension="flac",
            channels=1,
        )
    train, valid, _ = open_splits(tmp_path / named)
    assert train.layout == "dnr-v3"
    assert train.sources == ("dialogue", "music", "effects")
    assert valid.items[0].sources["effects"][0].path.name == "sfx.flac"


def write_moises_song(root, number):
    stems = {"vocals": ["lead", "choir"], "drums": ["kit"], "guitar": ["left", "right"], "bass": ["di"]}
    facts = {"artist": "A", "song": f"Song {number}", "genre": "rock", "stems": []}
    folder = root / "moisesdb_v0.1" / f"{number:08d}-0000"
    for stem, tracks in stems.items():
        facts["stems"].append({"stemName": stem, "tracks": [{"id": t, "extension": "wav"} for t in tracks]})
        for track in tracks:
            write(folder / stem / f"{track}.wav", noise(f"{number}{track}", channels=1 if track == "di" else 2))
    (folder / "data.json").write_text(json.dumps(facts))


def test_moisesdb(tmp_path):
    for number in range(10):
        write_moises_song(tmp_path, number)
    splits = open_splits(tmp_path)
    assert [len(dataset.items) for dataset in splits] == [8, 1, 1]
    assert splits[0].layout == "moisesdb"
    assert splits[0].sources == ("vocals", "drums", "bass", "other")
    item = splits[0].items[0]
    assert len(item.sources["vocals"]) == 2
    assert [clip.path.stem for clip in item.sources["other"]] == ["left", "right"]
    assert item.labels["genre"] == "rock"
    assert read_source(item.sources["bass"], 0, 100, 8000, num_channels=2).shape == (2, 100)
    every = open_dataset(tmp_path, "train", "moisesdb:all")
    assert every.sources == ("vocals", "drums", "bass", "guitar")


def test_moisesdb_with_a_damaged_description(tmp_path):
    write_moises_song(tmp_path, 1)
    next(tmp_path.rglob("data.json")).write_text('{"stems": [{}]}')
    with pytest.raises(DataError, match=r"data\.json"):
        open_dataset(tmp_path, "train")


def test_folders_of_unrelated_recordings(tmp_path):
    for split in ("train", "validation"):
        for source in ("drums", "Vocals"):
            for take in range(2):
                write(tmp_path / split / source / "album" / f"{take}.flac", noise(f"{split}{source}{take}"))
    train, valid = open_splits(tmp_path)
    assert (train.layout, train.sources) == ("pools", ("vocals", "drums"))
    assert [tuple(item.sources) for item in train.items] == [("vocals",)] * 2 + [("drums",)] * 2
    assert len({item.name for item in valid.items}) == 4


def test_folders_of_unrelated_recordings_without_splits(tmp_path):
    for source in ("speech", "rain"):
        for take in range(10):
            write(tmp_path / source / f"{take}.ogg", noise(f"{source}{take}"))
    splits = open_splits(tmp_path)
    assert [len(dataset.items) for dataset in splits] == [16, 2, 2]
    names = [item.name for dataset in splits for item in dataset.items]
    assert len(set(names)) == 20
