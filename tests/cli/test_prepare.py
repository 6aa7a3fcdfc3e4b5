"""`unbraid prepare`: what a user sees, and the exit status."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from tests.data.builders import write_song
from unbraid.cli.main import app
from unbraid.data.lists.draw_pairs import list_mixtures
from unbraid.data.lists.speaker_pairs import read_list, write_list
from unbraid.data.open import open_dataset
from unbraid.evaluation.tracks import open_list, open_tracks


def run(*arguments):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


@pytest.fixture
def songs(tmp_path):
    for split in ("train", "valid"):
        write_song(tmp_path / "songs" / split / f"{split} song", seconds=9, rate=2000)
    return tmp_path / "songs"


def test_activity(songs):
    done = run("activity", songs)
    assert done.exit_code == 0, done.output
    assert "4 segments of 4 sources are in" in done.output
    assert (songs / "activity.csv").is_file()


def test_resample_and_resume(songs, tmp_path):
    done = run("resample", songs, tmp_path / "copy", "--rate", 1000)
    assert done.exit_code == 0, done.output
    assert "10 done" in done.output
    assert "0 done, 10 were there already" in run("resample", songs, tmp_path / "copy", "--rate", 1000).output


def test_the_mixtures_of_a_list_are_written_as_they_are_scored(corpus_root, tmp_path):
    write_list(list_mixtures(open_dataset(corpus_root, "test"), 3, seed=0), tmp_path / "list.csv")
    done = run("mixtures", tmp_path / "list.csv", corpus_root, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "3 mixtures and their sources" in done.output
    for track in open_list(str(tmp_path / "list.csv"), corpus_root).tracks:
        files = {
            path.stem: soundfile.read(path, dtype="float32")[0] for path in (tmp_path / "out" / track.name).iterdir()
        }
        assert set(files) == {"mixture", "speaker1", "speaker2"}
        assert np.array_equal(files["mixture"], track.read_mixture(0, track.num_samples)[0])
        assert np.array_equal(files["speaker2"], track.read_reference("speaker2", 0, track.num_samples)[0])
    scored = open_tracks(tmp_path / "out")
    assert [track.name for track in scored.tracks] == ["0000", "0001", "0002"]
    assert (scored.sources, scored.exchangeable) == (("speaker1", "speaker2"), True)
    (tmp_path / "out" / "0001" / "speaker1.wav").unlink()
    again = run("mixtures", tmp_path / "list.csv", corpus_root, tmp_path / "out")
    assert "1 done, 2 were there already" in again.output


def test_mixtures_stay_below_their_folder_and_spare_what_is_there(corpus_root, tmp_path):
    mixtures = list_mixtures(open_dataset(corpus_root, "test"), 2, seed=0)
    write_list([replace(mixtures[0], name="../away")], tmp_path / "list.csv")
    done = run("mixtures", tmp_path / "list.csv", corpus_root, tmp_path / "out")
    assert done.exit_code == 1
    assert "no name of a folder" in done.output
    assert not (tmp_path / "away").exists()
    write_list([replace(mixtures[0], num_samples=100)], tmp_path / "list.csv")
    assert run("mixtures", tmp_path / "list.csv", corpus_root, tmp_path / "out").exit_code == 0
    write_list([mixtures[0]], tmp_path / "list.csv")
    done = run("mixtures", tmp_path / "list.csv", corpus_root, tmp_path / "out")
    assert done.exit_code == 1
    assert "name another folder" in done.output
    assert "their sources are in" not in done.output  # nothing was written


def test_failures_make_the_status_1(songs, tmp_path):
    (songs / "train" / "train song" / "bass.wav").write_bytes(b"no sound")
    done = run("resample", songs, tmp_path / "copy", "--rate", 1000)
    assert done.exit_code == 1
    assert "error: train/train song/bass.wav" in done.output
    assert "9 done, 1 failed" in done.output


def test_bad_input_is_one_sentence(tmp_path):
    for arguments in (("activity", tmp_path), ("resample", tmp_path / "nowhere", tmp_path / "out")):
        done = run(*arguments)
        assert done.exit_code == 1
        assert done.output.startswith("error: ")
        assert "Traceback" not in done.output


def test_a_list_is_drawn_and_scored_on(corpus_root, tmp_path):
    made = run("list", corpus_root, tmp_path / "mine.csv", "--count", 4, "--seed", 3)
    assert made.exit_code == 0, made.output
    assert "4 mixtures are in" in made.output
    assert read_list(tmp_path / "mine.csv") == list_mixtures(open_dataset(corpus_root, "test"), 4, seed=3)
    assert len(open_list(str(tmp_path / "mine.csv"), corpus_root).tracks) == 4
    again = run("list", corpus_root, tmp_path / "mine.csv")
    assert again.exit_code == 1
    assert "is there already" in again.output
