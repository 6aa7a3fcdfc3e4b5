from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from unbraid.audio.discovery import discover_audio


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in [
        "b.wav",
        "a.MP3",
        "deep/er/c.flac",
        "deep/film.mkv",
        "notes.txt",
        ".hidden.wav",
        ".git/x.wav",
        "[live].wav",
    ]:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_folders_are_searched_in_order_without_hidden_files(tree):
    found = discover_audio([tree])
    assert [str(file.relative) for file in found.files] == [
        "[live].wav",
        "a.MP3",
        "b.wav",
        "deep/film.mkv",
        "deep/er/c.flac",
    ]
    assert all(file.path == tree / file.relative for file in found.files)
    assert not found.errors


def test_what_is_missing_does_not_stop_the_rest(tree):
    (tree / "empty").mkdir()
    found = discover_audio([tree / "no.wav", tree / "b.wav", tree / "empty", str(tree / "*.xyz")])
    assert [file.relative for file in found.files] == [PurePath("b.wav")]
    messages = [str(error) for error in found.errors]
    assert "does not exist" in messages[0]
    assert "holds no recordings" in messages[1]
    assert "nothing matches" in messages[2]


def test_patterns_and_literal_brackets(tree):
    assert [file.path.name for file in discover_audio([str(tree / "*.wav")]).files] == ["[live].wav", "b.wav"]
    assert [file.path.name for file in discover_audio([str(tree / "[live].wav")]).files] == ["[live].wav"]
    assert [file.path.name for file in discover_audio([str(tree / "**" / "*.flac")]).files] == ["c.flac"]


def test_files_are_found_once_whatever_they_are_called(tree):
    found = discover_audio([tree / "notes.txt", tree / "b.wav", tree, tree / "b.wav"])
    assert [file.path.name for file in found.files[:2]] == ["notes.txt", "b.wav"]
    assert len(found.files) == 6


def test_links_in_a_circle_end(tree):
    (tree / "deep" / "up").symlink_to(tree)
    assert len(discover_audio([tree]).files) == 5


def test_standard_input():
    assert str(discover_audio(["-"]).files[0].path) == "-"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_in_folders_and_patterns_are_skipped(tmp_path):
    (tmp_path / "b.wav").write_bytes(b"x")
    (tmp_path / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "null.wav").symlink_to("/dev/null")
    for place in (tmp_path, tmp_path / "*.wav"):
        names = [file.path.name for file in discover_audio([place]).files]
        assert names == ["b.wav", "lost.wav"], "what a broken link is worth saying is said when it is opened"
    assert [file.path.name for file in discover_audio([tmp_path / "a.wav"]).files] == ["a.wav"], "it was named itself"
