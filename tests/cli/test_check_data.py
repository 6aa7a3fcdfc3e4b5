"""`unbraid check-data`: what a user sees, and the exit status."""

import json

import pytest
from typer.testing import CliRunner

from tests.data.builders import noise, write, write_song
from unbraid.cli.main import app
from unbraid.data.open import LAYOUTS


def run(*arguments):
    return CliRunner().invoke(app, ["check-data", *map(str, arguments)])


@pytest.fixture
def songs(tmp_path):
    for split in ("train", "valid", "test"):
        write_song(tmp_path / split / f"{split} song")
    return tmp_path


def test_a_good_data_set(songs):
    done = run(songs)
    assert done.exit_code == 0, done.output
    assert "laid out as songs" in done.output
    assert "nothing is wrong with it" in done.output


def test_warnings_leave_the_status_alone(songs):
    (songs / "train" / "train song" / "bass.wav").unlink()
    (songs / "train" / "train song" / "mixture.wav").unlink()
    done = run(songs)
    assert done.exit_code == 0
    assert "warning: items that lack sources which others have: 1" in done.output
    assert "train: train song: no bass" in done.output
    assert "what to do:" in done.output


def test_errors_make_the_status_1_and_json_says_the_same(songs):
    (songs / "valid" / "valid song" / "mixture.wav").unlink()
    write(songs / "valid" / "valid song" / "mixture.wav", noise("else", channels=2))
    done = run(songs, "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report["ok"]
    (finding,) = report["findings"]
    assert (finding["kind"], finding["severity"], finding["split"]) == ("unrelated-mixture", "error", "valid")
    assert finding["advice"]
    assert [split["num_items"] for split in report["splits"]] == [1, 1, 1]
    assert run(songs, "--split", "train").exit_code == 0


def test_only_some_of_many_are_named(songs):
    for number in range(6):
        write_song(songs / "train" / f"more {number}", stems=("vocals", "drums"), mixture=False)
    done = run(songs)
    assert "and 2 more (--all names them)" in done.output
    assert "and 2 more" not in run(songs, "--all").output


def test_the_layouts_are_listed():
    done = run("--list")
    assert done.exit_code == 0
    assert all(layout.name in done.output for layout in LAYOUTS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "no folder is named"),
        (("nowhere",), "'nowhere' does not exist"),
        ((".", "--layout", "tape"), "there is no layout 'tape'"),
        ((".", "--split", "dev"), "there is no split 'dev'"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output
