"""Whatever is wrong with a recording or a disk: one sentence, a status, nothing half-written, the others done."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import environment, hear_ctrl_c, tree
from tests.conftest import PATIENCE_SECONDS
from unbraid.files.pending import PendingFile


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("This is not audio.\n" * 100)


def truncated(path: Path) -> None:
    soundfile.write(path, np.full(16_000, 0.1), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])


def not_a_number(path: Path) -> None:
    samples = np.full(16_000, 0.1, np.float32)
    samples[9_000:] = np.nan
    soundfile.write(path, samples, 16_000, "FLOAT")


def infinite(path: Path) -> None:
    samples = np.full(16_000, 0.1, np.float32)
    samples[9_000] = np.inf
    soundfile.write(path, samples, 16_000, "FLOAT")


def far_too_slow(path: Path) -> None:
    soundfile.write(path, np.full(300, 0.1), 3)


def far_too_fast(path: Path) -> None:
    soundfile.write(path, np.full(3_000, 0.1), 768_000)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (None, "'bad.wav' does not exist: check the name and the folder"),
        (Path.mkdir, "the folder 'bad.wav' holds no recordings"),
        (empty, "'bad.wav' is empty (0 bytes)"),
        (text, "'bad.wav' holds text"),
        (truncated, "'bad.wav' is truncated (its header promises 1.0 s and it holds 0.6 s): pass --allow-truncated"),
        (not_a_number, "'bad.wav' holds 7000 samples that are not numbers"),
        (infinite, "'bad.wav' holds 1 samples that are not numbers"),
        (far_too_slow, "'bad.wav' has a sample rate of 3 Hz"),
        (far_too_fast, "'bad.wav' has a sample rate of 768000 Hz"),
    ],
)
def test_what_cannot_be_separated(separate, talk, tmp_path, make: Callable[[Path], None] | None, sentence: str):
    talk("good.wav", 0.1)
    if make is not None:
        make(tmp_path / "bad.wav")
    outcome = separate("bad.wav", "good.wav")
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith(sentence)
    assert "Traceback" not in outcome.err
    assert "1 of 2 recordings separated (1 failed); the stems are in separated/tiny" in outcome.err
    assert {path.split("/")[0] for path in tree(tmp_path / "separated/tiny")} == {"good"}
    assert not (tmp_path / "separated/tiny/bad").exists()


@pytest.mark.parametrize(
    ("make", "flag"),
    [
        (truncated, "--allow-truncated"),
        (not_a_number, "--replace-nonfinite"),
        (not_a_number, "--mend-samples"),  # its name before
    ],
)
def test_what_can_be_separated_on_request(separate, tmp_path, make, flag):
    make(tmp_path / "bad.wav")
    outcome = separate("bad.wav", flag)
    assert outcome.code == 0, outcome.err
    assert len(tree(tmp_path / "separated/tiny/bad")) == 3


@pytest.mark.parametrize(
    "samples",
    [np.full((1, 1), 0.5), np.zeros((8_000, 2)), np.random.default_rng(0).uniform(-0.5, 0.5, (8_000, 7))],
    ids=["one sample", "silence", "seven channels"],
)
def test_what_is_odd_and_still_separated(separate, tmp_path, samples):
    soundfile.write(tmp_path / "odd.wav", samples, 16_000)
    outcome = separate("odd.wav")
    assert outcome.code == 0, outcome.err
    for stem in ("speaker1", "speaker2"):
        estimate, _ = soundfile.read(tmp_path / f"separated/tiny/odd/{stem}.wav", always_2d=True)
        assert estimate.shape == samples.shape


def test_only_bad_ones(separate, tmp_path):
    text(tmp_path / "bad.wav")
    outcome = separate("bad.wav", "missing.wav")
    assert outcome.code == 1
    assert len(outcome.errors) == 2
    assert "0 of 2 recordings separated (2 failed)" in outcome.err
    assert tree(tmp_path) == {"bad.wav"}


def test_too_many_channels_for_a_format(separate, talk, tmp_path):
    talk(channels=7)
    outcome = separate("talk.wav", "--mp3")
    assert outcome.code == 1
    assert outcome.errors == ["'talk.wav': MP3 holds at most 2 channels and the recording has 7: pass --wav"]
    assert tree(tmp_path) == {"talk.wav"}


def test_output_below_a_file(separate, talk, tmp_path):
    talk()
    (tmp_path / "out").write_text("a file")
    outcome = separate("talk.wav", "-o", "out")
    assert outcome.code == 1
    assert "a part of its path is a file, not a folder: choose another folder" in outcome.errors[0]
    assert tree(tmp_path) == {"talk.wav", "out"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_output_without_permission(separate, talk, tmp_path):
    talk()
    (tmp_path / "out").mkdir(mode=0o500)
    outcome = separate("talk.wav", "-o", "out")
    assert outcome.code == 1
    assert "may not write there" in outcome.errors[0]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not write there"), (errno.EROFS, "is read-only")],
)
def test_a_disk_that_refuses(separate, talk, tmp_path, monkeypatch, code, sentence):
    talk("a.wav")
    talk("b.wav")
    before = PendingFile.__init__

    def refuse(self, path, **settings):
        before(self, path, **settings)
        if "/a/speaker2" in str(path):
            self.discard()
            raise_from_system(code, self.name)

    monkeypatch.setattr(PendingFile, "__init__", refuse)
    outcome = separate("a.wav", "b.wav")
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert sentence in outcome.errors[0]
    assert tree(tmp_path / "separated/tiny") == {
        f"b/{name}" for name in ("speaker1.wav", "speaker2.wav", "b.unbraid.json")
    }
    assert not (tmp_path / "separated/tiny/a").exists()


def raise_from_system(code: int, name: str) -> None:
    from unbraid.files.pending import writing_to

    with writing_to(name):
        raise OSError(code, os.strerror(code))


def test_a_disk_that_becomes_full(separate, talk, tmp_path):
    """A real file system of half a megabyte, where this user may mount one; else a limit that the kernel keeps."""
    talk("long.wav", 20)
    talk("short.wav", 0.2)
    out = tmp_path / "out"
    out.mkdir()
    mount = shutil.which("mount")
    mounted = (
        mount
        and not subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", out], capture_output=True).returncode
    )
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if not mounted:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
        outcome = separate("long.wav", "short.wav", "-o", "out")
        left = tree(out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        if mounted:
            subprocess.run(["umount", out], check=True)
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert "long" in outcome.errors[0]
    assert ("the disk is full" if mounted else "does not hold files that large") in outcome.errors[0]
    assert left == {f"tiny/short/{name}" for name in ("speaker1.wav", "speaker2.wav", "short.unbraid.json")}


def test_old_stems_survive_a_failure(separate, talk, tmp_path):
    talk()
    assert separate("talk.wav").code == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("separated/tiny/talk/*")}
    truncated(tmp_path / "talk.wav")
    assert separate("talk.wav").code == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("separated/tiny/talk/*")} == before


def test_a_stem_never_overwrites_its_recording(separate, talk, tmp_path):
    path = talk("separated/tiny/speaker1.wav")
    before = path.read_bytes()
    outcome = separate("separated/tiny/speaker1.wav", "--filename", "{stem}")
    assert outcome.code == 1
    assert "would overwrite it: choose another --out or --filename" in outcome.errors[0]
    assert path.read_bytes() == before


def test_interruption_leaves_nothing_half_written(command, tiny, talk, tmp_path):
    talk("a.wav", 0.1)
    talk("long.wav", 1200, rate=8_000)
    out = tmp_path / "out"
    arguments = command("separate", "a.wav", "long.wav", "-n", tiny, "-o", out, "-d", "cpu")
    running = subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=hear_ctrl_c,
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        # Both are in work at once: the short one is to be done, the long one begun.
        begun = ("tiny/a/a.unbraid.json", "tiny/long/.*")
        while not all(list(out.glob(pattern)) for pattern in begun) and time.monotonic() < deadline:
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, shown = running.communicate(timeout=PATIENCE_SECONDS)
    finally:
        running.kill()
    lines = shown.decode().splitlines()
    assert running.returncode == 130, shown.decode()
    assert lines[-1].startswith("interrupted; 1 of 2 recordings are done and nothing half-written is left behind")
    assert "Traceback" not in shown.decode()
    assert tree(out) == {f"tiny/a/{name}" for name in ("speaker1.wav", "speaker2.wav", "a.unbraid.json")}


def test_a_reader_that_has_seen_enough_is_no_error(command, tiny, talk, tmp_path):
    talk("talk.wav", 20)
    arguments = command("separate", "talk.wav", "-n", tiny, "-o", "-", "--stem", "speaker1", "-q", "-d", "cpu")
    running = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert running.stdout is not None
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == b""
    assert running.wait(PATIENCE_SECONDS) != 0


def test_a_defect_of_ours_keeps_its_traceback_and_the_others_are_done(separate, talk, monkeypatch):
    talk("a.wav")
    talk("b.wav")
    from unbraid.separation import separator

    before = separator.open_input

    def broken(source, *arguments, **settings):
        if "a.wav" in str(source):
            raise IndexError("a defect")
        return before(source, *arguments, **settings)

    monkeypatch.setattr(separator, "open_input", broken)
    outcome = separate("a.wav", "b.wav")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.errors == ["'a.wav' could not be separated because of a defect of unbraid (IndexError: a defect)"]
    assert "1 of 2 recordings separated (1 failed)" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("separate", "a.wav", "--mp3-bitrate", "abc"),
            "value for '--mp3-bitrate': 'abc' is not a whole number",
        ),
        (("separate", "a.wav", "--overlap", "much"), "value for '--overlap': 'much' is not a number"),
        (("models", "download", "htdemuc"), "no published model 'htdemuc': did you mean htdemucs"),
        (("models", "remove", "htdemuc"), "nothing was downloaded for 'htdemuc': did you mean htdemucs"),
    ],
)
def test_what_is_misspelt_is_said_in_plain_words(run, monkeypatch, arguments, sentence):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = run(*arguments)
    assert outcome.code != 0
    assert sentence in " ".join(outcome.err.split())
