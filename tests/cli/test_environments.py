"""Machines that are not as usual: no home, no folder for temporary files, a wrong clock, folders that vanish."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import tree
from unbraid import Separator
from unbraid.audio import sources
from unbraid.audio.discovery import discover_audio
from unbraid.cli import defaults
from unbraid.errors import ConfigError, DiskSpaceError
from unbraid.files import cache
from unbraid.files.scratch import open_scratch
from unbraid.output.batch import run_jobs
from unbraid.output.jobs import RecordingDone, RecordingFailed, plan_jobs
from unbraid.output.record import ModelIdentity


@pytest.fixture
def _no_home(monkeypatch: pytest.MonkeyPatch):
    """As for a user whom the system has no entry for, in a container."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "UNBRAID_CACHE", "UNBRAID_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", os.fspath)
    cache._fleeting_folder.cache_clear()
    yield
    cache._fleeting_folder.cache_clear()


@pytest.fixture
def _nowhere(monkeypatch: pytest.MonkeyPatch):
    """As where neither TMPDIR nor /tmp nor the working folder can be written to."""

    def refuse() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)


@pytest.mark.usefixtures("_no_home")
def test_without_a_home_there_are_no_settings_and_the_cache_is_private_and_goes_with_the_process(run, monkeypatch):
    monkeypatch.delenv("UNBRAID_CONFIG")
    assert defaults.settings_files() == [Path("unbraid.toml")]
    folder = cache.cache_folder()
    assert folder == cache.cache_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run("models", "list").code == 0
    # What a ~ stands for is not made up.
    monkeypatch.setenv("UNBRAID_CACHE", "~/cache")
    assert cache.cache_folder() == folder
    assert cache.user_path("~nobody-is-called-so/x") is None
    outcome = run("check-data", "~nobody-is-called-so/x")
    assert outcome.errors == ["'~nobody-is-called-so/x' does not exist: check the name of the data folder"]
    folder.rmdir()


@pytest.mark.usefixtures("_no_home", "_nowhere")
def test_without_a_home_and_temporary_files_the_variable_is_named():
    with pytest.raises(ConfigError, match=r"neither a home folder nor .*: name .* UNBRAID_CACHE"):
        cache.cache_folder()


def test_the_home_of_another_user_holds_no_settings(monkeypatch):
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert defaults._read(Path("home/unbraid.toml")) == {}
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(ConfigError, match="Permission denied"):
        defaults._read(Path("home/unbraid.toml"))


@pytest.mark.usefixtures("_nowhere")
def test_without_a_folder_for_temporary_files_a_stream_is_refused_in_one_sentence_and_a_file_is_not(
    separate, talk, monkeypatch, tmp_path
):
    # The tests' own models import PyTorch's compiler, which asks for a folder as well.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    path = talk()
    assert separate(path).code == 0
    monkeypatch.setattr(sources, "standard_input", lambda: Drop(path.read_bytes()))
    outcome = separate("-")
    assert outcome.code == 1
    assert outcome.errors == [
        "'standard input': temporary files cannot be written (No usable temporary directory found in ['/tmp']): free "
        "some space there, or set TMPDIR to another folder"
    ]
    with pytest.raises(DiskSpaceError, match="set TMPDIR"):
        open_scratch()


def test_temporary_files_have_no_name_and_are_private(tmp_path: Path):
    if sys.platform != "linux":
        pytest.skip("files without a name are Linux's")
    with open_scratch(tmp_path) as file:
        assert os.listdir(tmp_path) == []
        status = os.fstat(file.fileno())
        assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 0o600)


class Drop:
    """Gives a byte or two at a time, as a slow line does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 2) if size > 0 else size)


def test_a_slow_pipe_is_read_to_its_end_and_one_that_was_cut_is_refused(separate, talk, tmp_path, monkeypatch):
    data = talk(seconds=0.3).read_bytes()
    assert separate("talk.wav", "-o", "file").code == 0
    monkeypatch.setattr(sources, "standard_input", lambda: Drop(data))
    assert separate("-", "-o", "pipe").code == 0
    stems = [next((tmp_path / out).rglob("speaker1.wav")).read_bytes() for out in ("file", "pipe")]
    assert stems[0] == stems[1]
    monkeypatch.setattr(sources, "standard_input", lambda: Drop(data[: len(data) // 2]))
    outcome = separate("-", "-o", "cut")
    assert outcome.code == 1
    assert "is truncated" in outcome.errors[0]
    assert not (tmp_path / "cut").exists()


def test_a_clock_that_was_wrong_neither_loses_nor_repeats_work(separate, talk, tmp_path):
    path = talk(seconds=0.2)
    for seconds in (0, 2**33):  # 1970, and the year 2242
        os.utime(path, (seconds, seconds))
        assert separate(path, "--resume").code == 0
    assert "skipped" in separate(path, "--resume").err
    for stem in (tmp_path / "separated").rglob("*"):
        os.utime(stem, (1, 1))
    os.utime(path, (2**32, 2**32))  # the same bytes at another time
    assert "skipped" in separate(path, "--resume").err
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    os.utime(path, (5, 5))
    assert "skipped" not in separate(path, "--resume").err


def plan(tiny: str, folder: Path, out: Path, stems: tuple[str, ...]):
    return plan_jobs(discover_audio([folder]).files, out, stems, model=ModelIdentity.of(tiny).name)


def test_two_runs_on_one_folder_at_a_time_give_whole_files_and_leave_nothing_else(tiny, talk, tmp_path):
    for name in ("a", "b"):
        talk(f"in/{name}.wav", 0.4)
    separators, model = [Separator(tiny, device="cpu") for _ in range(2)], ModelIdentity.of(tiny)
    jobs = plan(tiny, tmp_path / "in", tmp_path / "out", separators[0].stem_plan.names)
    runs, done = [run_jobs(jobs, separator, model) for separator in separators], 0
    while runs:
        for run in list(runs):
            event = next(run, None)
            done += isinstance(event, RecordingDone)
            assert not isinstance(event, RecordingFailed)
            if event is None:
                runs.remove(run)
    assert done == 4
    assert {name.rsplit("/", 1)[1] for name in tree(tmp_path / "out")} == {
        "speaker1.wav",
        "speaker2.wav",
        "a.unbraid.json",
        "b.unbraid.json",
    }
    assert len({len(path.read_bytes()) for path in (tmp_path / "out").rglob("*.wav")}) == 1


def test_a_folder_that_vanishes_costs_its_own_recordings_only(tiny, talk, tmp_path):
    for name in ("a/1", "b/2"):
        talk(f"in/{name}.wav", 0.3)
    separator, model = Separator(tiny, device="cpu"), ModelIdentity.of(tiny)
    jobs = plan(tiny, tmp_path / "in", tmp_path / "out", separator.stem_plan.names)
    (tmp_path / "in/a/1.wav").unlink()
    (tmp_path / "in/a").rmdir()
    with closing(run_jobs(jobs, separator, model)) as events:
        kinds = [event for event in events if isinstance(event, RecordingDone | RecordingFailed)]
    failed = next(event for event in kinds if isinstance(event, RecordingFailed))
    assert len(kinds) == 2
    assert "does not exist" in failed.message
    assert not failed.is_defect
    assert len(tree(tmp_path / "out")) == 3


def test_thousands_of_files_below_a_folder_are_found_and_named_each_once(tmp_path):
    """A hundred thousand take as long for each; see docs/reliability.md."""
    for folder in range(30):
        (tmp_path / f"in/{folder:02d}").mkdir(parents=True)
        for number in range(100):
            (tmp_path / f"in/{folder:02d}/talk{number}.wav").touch()
    (tmp_path / "in/00/talk1.flac").touch()  # the same name but for its ending
    found = discover_audio([tmp_path / "in"])
    assert (len(found.files), found.errors) == (3001, ())
    jobs = plan_jobs(found.files, tmp_path / "out", ("a", "b"), model="m")
    paths = [path for job in jobs for path in job.paths.stems.values()]
    assert len(set(paths)) == 6002
    assert {path.parents[2].name for path in paths} == {"m"}


def test_in_the_locale_c_names_are_kept_on_the_disk_and_escaped_on_the_terminal(tmp_path):
    if sys.platform != "linux":
        pytest.skip("names are bytes on Linux only")
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in (b"sch\xc3\xb6n.wav", b"\xff.wav"):
        os.close(os.open(folder + b"/" + name, os.O_CREAT))
    code = (
        "import sys; from unbraid.audio.discovery import discover_audio; from unbraid.cli.messages import complain; "
        "from unbraid.files.names import printable; from unbraid.files.pending import PendingFile, write_pending; "
        "files = [file.path for file in discover_audio([sys.argv[1]]).files]; "
        "[complain(f\"'{printable(path)}' is empty\") for path in files]; "
        "[write_pending(PendingFile(path.with_suffix('.txt')), b'x') for path in files]"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, folder], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.isascii()
    said = [line.rpartition(b"/")[2] for line in done.stderr.splitlines()]
    assert said == [b"sch\\udcc3\\udcb6n.wav' is empty", b"\\udcff.wav' is empty"]
    assert sorted(os.listdir(folder)) == sorted([b"sch\xc3\xb6n.wav", b"\xff.wav", b"sch\xc3\xb6n.txt", b"\xff.txt"])
