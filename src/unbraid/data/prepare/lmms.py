"""Renders song projects of LMMS to stems: drums, bass and other, by the names of their instruments.

`lmms rendertracks` writes one file per instrument; those of a stem are summed. The effects of the master channel are
not in any of them, so that the sum of the stems is the mixture. What comes out are song folders
(`data/layouts/songs.py`), the tree kept; parts that a song does not have are not written.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np

from unbraid.audio.recording import Recording
from unbraid.data.clips import open_clip
from unbraid.data.mixing.levels import rms
from unbraid.data.prepare.lmms_projects import PROJECT_SUFFIXES, LmmsProject, Stem
from unbraid.data.prepare.stem_folders import align_stems, write_stem_folder
from unbraid.data.prepare.tasks import PrepareEvent, Task, Wrote, run_tasks
from unbraid.errors import DataError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending

_STEMS: tuple[Stem, ...] = ("drums", "bass", "other")

_TIMEOUT_SECONDS = 3600
"""ours: a song takes 5 to 60 s of one core; LMMS may hang on a project that it cannot play."""

_SILENCE_DB = -70.0
"""ours: an instrument below this never plays."""

_CLICK_SAMPLES = 64
"""ours: at the very beginning LMMS 1.2 leaves some samples of what was in its memory, at full scale."""

_BASS_BELOW_HZ, _BASS_SHARE = 200.0, 0.7
"""ours: an instrument without a name is bass where so much of its power lies below."""


def prepare_lmms(root: Path, out: Path, sample_rate: int = 44100, jobs: int = 1) -> Generator[PrepareEvent, None, None]:
    """Renders every project below `root` into a folder below `out`; folders that are there already are left.

    `out/manifest.csv` lists the stems of all songs that are there.
    """
    player = shutil.which("lmms")
    if player is None:
        raise DataError("LMMS is not installed", remedy="install it, as in  apt-get install lmms")
    projects = sorted(path for path in root.rglob("*") if path.suffix.lower() in PROJECT_SUFFIXES)
    if not projects:
        raise DataError(
            "holds no projects of LMMS (.mmpz, .mmp)",
            subject=f"'{printable(root)}'",
            remedy="name the folder that they are in",
        )
    folders = [out / path.relative_to(root).with_suffix("") for path in projects]
    tasks = [
        Task(printable(path.relative_to(root)), partial(_render_song, path, folder, player, sample_rate))
        for path, folder in zip(projects, folders, strict=True)
    ]
    yield from run_tasks(tasks, jobs)
    if count := _write_manifest(out, [folder for folder in folders if folder.is_dir()]):
        yield Wrote(printable(out / "manifest.csv"), f"{count} stems")


def _render_song(path: Path, folder: Path, player: str, sample_rate: int) -> bool:
    if folder.is_dir():
        return False
    project = LmmsProject(path)
    with tempfile.TemporaryDirectory(prefix="unbraid-") as scratch:
        copy = Path(scratch, "project.mmp")
        copy.write_bytes(project.text)
        _run_lmms(copy, path, player, sample_rate)
        stems = _sum_stems(project, Path(scratch), path)
    write_stem_folder(folder, align_stems(stems), sample_rate)
    return True


def _run_lmms(copy: Path, path: Path, player: str, sample_rate: int) -> None:
    """One file per instrument beside the copy of the project. Nothing is drawn, so that no screen is needed."""
    scratch = copy.parent
    command = [player, "rendertracks", str(copy), "-o", str(scratch), "-f", "wav", "-s", str(sample_rate)]
    try:
        done = subprocess.run(
            [*command, "--allowroot"],
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"takes LMMS more than {_TIMEOUT_SECONDS / 3600:g} hours", subject=f"'{printable(path)}'", remedy="omit it"
        ) from error
    if done.returncode or not any(scratch.glob("*.wav")):
        said = " ".join(done.stderr.decode(errors="replace").split())[-200:] or f"status {done.returncode}"
        raise DataError(f"cannot be rendered by LMMS ({said})", subject=f"'{printable(path)}'", remedy="open it there")


def _sum_stems(project: LmmsProject, scratch: Path, path: Path) -> dict[str, np.ndarray]:
    """What is rendered, a file per instrument, as (channel, sample) per stem."""
    stems: dict[str, np.ndarray] = {}
    for file in sorted(scratch.glob("*.wav")):
        recording = Recording.read(file)
        samples = np.broadcast_to(recording.samples, (2, recording.samples.shape[1])).copy()
        samples[:, :_CLICK_SAMPLES] = 0
        if rms(samples) < 10 ** (_SILENCE_DB / 20):
            continue
        # LMMS numbers its files.
        stem = project.stem_of(re.sub(r"^\d+_", "", file.stem)) or sounding_stem(samples, recording.sample_rate)
        there = stems.get(stem, np.zeros((2, 0), np.float32))
        total = np.zeros((2, max(there.shape[1], samples.shape[1])), np.float32)
        for part in (there, samples):
            total[:, : part.shape[1]] += part
        stems[stem] = total
    if not stems:
        raise DataError("plays nothing but silence in LMMS", subject=f"'{printable(path)}'", remedy="omit it")
    return {stem: stems[stem] for stem in _STEMS if stem in stems}


def sounding_stem(samples: np.ndarray, sample_rate: int) -> Stem:
    """Of an instrument that nobody has named, by its sound: (channel, sample)."""
    mono = samples.mean(axis=0)
    power = np.abs(np.fft.rfft(mono)) ** 2
    low = round(_BASS_BELOW_HZ * len(mono) / sample_rate)
    return "bass" if power[:low].sum() > _BASS_SHARE * max(power.sum(), 1e-12) else "other"


def _write_manifest(out: Path, folders: list[Path]) -> int:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "track", "stem", "seconds"])
    files = [file for folder in folders for file in sorted(folder.glob("*.flac"))]
    for file in files:
        writer.writerow(
            [file.relative_to(out).as_posix(), file.parent.name, file.stem, f"{open_clip(file).seconds:.3f}"]
        )
    if files:
        write_pending(PendingFile(out / "manifest.csv"), text.getvalue().encode())
    return len(files)
