"""Options out of `unbraid.toml`, and those that people know from demucs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch


@pytest.fixture
def settings(separate, tmp_path, monkeypatch):
    """Writes the two files; `separate` has changed to a folder of its own."""

    def write(folder: str = "", own: str = "") -> None:
        Path("unbraid.toml").write_text(folder)
        (tmp_path / "own.toml").write_text(own)
        monkeypatch.setenv("UNBRAID_CONFIG", str(tmp_path / "own.toml"))

    return write


@pytest.fixture
def record(separate, talk):
    """Separates with the settings and gives what the record says ran."""

    def call(*options: str) -> dict:
        talk()
        outcome = separate("talk.wav", *options)
        assert outcome.code == 0, outcome.err
        [path] = Path().glob("*/tiny/talk/talk.unbraid.json")
        return json.loads(path.read_text()) | {"folder": path.parts[0], "err": outcome.err}

    return call


def test_the_record_tells_the_settings_of_both_files(record, settings):
    settings('[separate]\noverlap = 0.5\n"out" = "here"', "[separate]\noverlap = 0.1\nshifts = 2\nflac = true")
    made = record()
    assert made["folder"] == "here"
    assert made["settings"]["separation"] | {"overlap": 0.5, "shifts": 2} == made["settings"]["separation"]
    assert made["settings"]["output"]["container"] == "flac"
    assert "settings: --out, --flac, --overlap, --shifts: as unbraid.toml has it" in made["err"]


def test_the_command_line_wins_over_files_and_the_folder_over_the_user(record, settings):
    settings('[separate]\nflac = true\nsegment = "whole"\nquiet = true', "[separate]\nmp3 = true\nint24 = true")
    made = record("--wav", "--segment", "0.3", "--overlap", "0.6")
    assert made["settings"]["output"] | {"container": "wav", "sample": "int24"} == made["settings"]["output"]
    assert made["settings"]["separation"]["overlap"] == pytest.approx(0.6)
    assert made["err"] == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[separate]\noverlpa = 0.5", "'overlpa' is no option of separate: did you mean 'overlap'?"),
        ("[separate]\ninputs = 'a.wav'", "'inputs' is no option of separate"),
        ("[separat]\noverlap = 0.5", "'separat' is no command with options"),
        ("overlap = 0.5", "'overlap' is no command with options"),
        ("[separate]\nflac = 'yes'", "'separate.flac' is true or false, not 'yes'"),
        ("[separate]\noverlap = true", "'separate.overlap' is a number or a text, not True"),
        ("[separate]\noverlap = 'much'", "'separate.overlap': "),
        ("[separate]\nstart = 'soon'", "'separate.start': 'soon' is no time"),
        ("[separate]\nclip-mode = 'soft'", "'separate.clip-mode': 'soft' is not one of 'rescale', 'clamp', 'none'"),
        ("[separate", "cannot be read as TOML"),
    ],
)
def test_what_is_no_setting_is_one_sentence_that_names_the_file(separate, settings, text, told):
    settings(text)
    outcome = separate("talk.wav")
    assert outcome.code == 1
    [sentence] = outcome.errors
    assert sentence.startswith("'unbraid.toml' ")
    assert told in sentence


def test_the_doctor_shows_them_and_what_is_wrong_with_them(run, settings, monkeypatch, tmp_path):
    from unbraid.cli import doctor

    settings("[separate]\noverlap = 0.5", "[separate]\nflac = true")
    monkeypatch.setattr("unbraid.cli.doctor._models", list)
    [check] = doctor._settings()
    assert (check.name, check.status) == ("unbraid separate", "ok")
    assert check.text == f"defaults: flac = True ('{tmp_path}/own.toml'), overlap = '0.5' ('unbraid.toml')"
    settings("[separate]\noverlpa = 0.5")
    [check] = doctor._settings()
    assert check.status == "broken"
    settings()
    [check] = doctor._settings()
    assert check.text.startswith("no defaults of your own")


def test_no_split_is_one_piece(record):
    assert record("--no-split")["settings"]["separation"]["segment_seconds"] is not None


def test_jobs_are_threads(record, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    record("-j", "3")
    assert seen[0] == 3
    assert set(seen[1:]) <= {1}, "what reads and writes beside the model has one thread each"


def test_presets_of_mp3_are_taken_and_said_to_do_nothing(record):
    assert "--mp3-preset does nothing, see --mp3-bitrate" in record("--mp3", "--mp3-preset", "5")["err"]


def test_a_file_nested_too_deep_is_one_sentence(run, monkeypatch, tmp_path):
    file = tmp_path / "deep.toml"
    file.write_text("[separate]\nname = " + "[" * 5000)
    monkeypatch.setenv("UNBRAID_CONFIG", str(file))
    outcome = run("models", "list")
    assert outcome.code == 1
    assert outcome.errors == [f"'{file}' is nested too deep: mend it"]
