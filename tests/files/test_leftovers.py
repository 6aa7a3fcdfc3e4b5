"""What killed processes leave behind is removed by the next run, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.files import leftovers
from unbraid.files.leftovers import partial_path, remove_leftovers
from unbraid.files.pending import PendingFile, commit_all, write_pending

DEAD = 4_000_000
"""A number that no process on this machine has: Linux gives numbers below 4,194,304, and hardly any above 100,000."""


@pytest.fixture(autouse=True)
def _look_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leftovers, "_swept", set())


def of_process(path: Path, process: int) -> Path:
    return path.with_name(partial_path(path).name.replace(f"-{os.getpid()}-", f"-{process}-"))


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path):
    code = "import os, sys; from unbraid.files.pending import PendingFile; PendingFile(sys.argv[1]); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "stem.wav")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    write_pending(PendingFile(tmp_path / "other.wav"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["other.wav"]


def test_only_what_belongs_to_nobody_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = PendingFile(tmp_path / "mine.wav")
    living = of_process(tmp_path / "living.wav", os.getppid())
    dead = of_process(tmp_path / "dead.wav", DEAD)
    before = dead.with_name(f"{dead.name}-before")
    ancient = tmp_path / f".ancient.wav.partial-{DEAD}-01234567"
    elsewhere = tmp_path / ".elsewhere.wav.partial-01234567-1-01234567"
    forgotten = tmp_path / ".forgotten.wav.partial-01234567-1-01234567"
    others = [tmp_path / name for name in (".a.partial-x", "a.wav", ".partial-1", ".b.partial-1-2-3.txt")]
    for path in (living, dead, before, ancient, elsewhere, forgotten, *others):
        path.write_bytes(b"x")
    os.utime(forgotten, (1, 1))
    link = of_process(tmp_path / "link.wav", DEAD)
    link.symlink_to(tmp_path / "a.wav")
    monkeypatch.setattr(leftovers, "_swept", set())
    assert remove_leftovers(tmp_path) == 4
    kept = {mine.partial, living, elsewhere, link, *others}
    assert set(tmp_path.iterdir()) == kept
    assert remove_leftovers(tmp_path) == 0, "looks once"
    mine.discard()


def test_a_file_whose_successor_did_not_come_gets_its_name_back(tmp_path: Path):
    partial = of_process(tmp_path / "stem.wav", DEAD)
    old = partial.with_name(f"{partial.name}-old")
    old.write_bytes(b"before")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["stem.wav"]
    assert (tmp_path / "stem.wav").read_bytes() == b"before"


@pytest.mark.parametrize("name", [".", ".."])
def test_names_of_no_file_are_left_alone(tmp_path: Path, name: str):
    for end in ("", "-old", "-before"):
        (tmp_path / f".{name}.partial-{DEAD}{end}").touch()
    before = sorted(tmp_path.iterdir())
    assert remove_leftovers(tmp_path) == 0
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path):
    assert remove_leftovers(tmp_path / "none") == 0


@pytest.mark.parametrize("follow", [False, True])
def test_links(tmp_path: Path, follow: bool):
    outside, inside = tmp_path / "outside.wav", tmp_path / "out" / "stem.wav"
    inside.parent.mkdir()
    outside.write_bytes(b"keep")
    inside.symlink_to(outside)
    files = [PendingFile(inside, follow_link=follow), PendingFile(tmp_path / "out" / "b.wav")]
    for file in files:
        file.file.write(b"new")
    commit_all(files)
    assert inside.read_bytes() == b"new"
    assert inside.is_symlink() == follow
    assert outside.read_bytes() == (b"new" if follow else b"keep")
    assert len(list(inside.parent.iterdir())) == 2


def test_a_link_comes_back_if_the_last_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outside, inside = tmp_path / "outside.wav", tmp_path / "stem.wav"
    outside.write_bytes(b"keep")
    inside.symlink_to(outside)
    files = [PendingFile(inside, follow_link=False), PendingFile(tmp_path / "b.wav")]
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(Exception, match=r"b\.wav"):
        commit_all(files)
    assert inside.is_symlink()
    assert outside.read_bytes() == b"keep"
    for file in files:
        file.discard()


def test_a_device_behind_a_link_is_refused(tmp_path: Path):
    (tmp_path / "stem.wav").symlink_to("/dev/null")
    with pytest.raises(Exception, match="a device or a pipe"):
        PendingFile(tmp_path / "stem.wav", follow_link=False)


def test_what_is_remembered_does_not_grow_with_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A batch of a million recordings has a folder for each."""
    monkeypatch.setattr(leftovers, "_MOST_SWEPT", 4)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        of_process(folder / "stem.wav", DEAD).write_bytes(b"x")
        assert remove_leftovers(folder) == 1
        assert len(leftovers._swept) <= 4
