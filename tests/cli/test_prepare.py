"""`unbraid prepare`: what a user sees, and the exit status."""

import pytest
from typer.testing import CliRunner

from tests.data.builders import write_song
from unbraid.cli.main import app


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
