"""The list of what a player plays, where something has happened to it or to its tracks."""

import json

import pytest

from unbraid.web.preview import Tracks, load_tracks, save_tracks, track_path

TRACKS = Tracks(names=("mixture", "vocals"), sample_rate=8000, num_channels=2, num_samples=9)


@pytest.fixture
def folder(tmp_path):
    for index in range(2):
        track_path(tmp_path, index).write_bytes(bytes(36))
    save_tracks(tmp_path, TRACKS)
    return tmp_path


def test_a_whole_list_is_read(folder):
    assert load_tracks(folder) == TRACKS


@pytest.mark.parametrize(
    "change", [{"names": None}, {"names": [1]}, {"num_samples": 10}, {"num_samples": -1}, {"num_channels": 3}]
)
def test_with_a_damaged_list_there_is_nothing_to_play(folder, change):
    values = json.loads((folder / "tracks.json").read_bytes())
    (folder / "tracks.json").write_text(json.dumps({**values, **change}))
    assert load_tracks(folder) is None


def test_without_a_whole_track_there_is_nothing_to_play(folder):
    track_path(folder, 1).write_bytes(bytes(35))
    assert load_tracks(folder) is None
    track_path(folder, 1).unlink()
    assert load_tracks(folder) is None
    (folder / "tracks.json").write_bytes(b"[")
    assert load_tracks(folder) is None
