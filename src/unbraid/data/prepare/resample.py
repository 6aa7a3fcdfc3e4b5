"""Copies a data set to another sample rate, its tree kept, so that nothing is resampled while training.

WAV stays WAV and FLAC stays FLAC, in their depth; everything else becomes FLAC, which can be read from the middle. The
five streams of a `.stem.mp4` become a folder of FLAC files, which is MUSDB18-HQ's form. Lists are copied too, with the
names and lengths that changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator
from functools import partial
from pathlib import Path

from unbraid.audio.formats import Encoding, check_rate
from unbraid.audio.rate import Resampler, resampled_length
from unbraid.audio.reading import open_audio
from unbraid.audio.writing import AudioWriter
from unbraid.data.clips import open_clip, read_clip
from unbraid.data.layouts.layout import is_audio
from unbraid.data.layouts.musdb18 import STEM_STREAMS, STEM_SUFFIX
from unbraid.data.prepare.tasks import PrepareEvent, Task, run_tasks
from unbraid.errors import AudioReadError, ConfigError, DataError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending

_BLOCK_SAMPLES = 2**18
_LENGTH_COLUMNS = ("length", "num_samples", "start")
"""Columns of lists that count samples."""


def prepare_resample(root: Path, out: Path, sample_rate: int, jobs: int = 1) -> Generator[PrepareEvent, None, None]:
    """Writes a copy of everything below `root` under `out`; what is there already at that rate is left."""
    check_rate(sample_rate, "`sample_rate`", ConfigError)
    if not root.is_dir():
        raise DataError("is not a folder", subject=f"'{printable(root)}'", remedy="name the folder of the data set")
    if out.resolve() == root.resolve() or out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            "is inside the data set itself", subject=f"'{printable(out)}'", remedy="name a folder beside it"
        )
    files = sorted(path for path in root.rglob("*") if path.is_file() and not _is_hidden(path, root))
    if not any(is_audio(path) for path in files):
        raise DataError("holds no recordings", subject=f"'{printable(root)}'", remedy="name the folder of the data set")
    tasks = [_plan(path, root, out, sample_rate) for path in files]
    yield from run_tasks(tasks, jobs)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _plan(path: Path, root: Path, out: Path, sample_rate: int) -> Task:
    relative = path.relative_to(root)
    target = out / relative
    if path.name.lower().endswith(STEM_SUFFIX):
        make = partial(_unpack, path, target.with_name(path.name[: -len(STEM_SUFFIX)]), sample_rate)
    elif is_audio(path):
        make = partial(_resample, path, target.with_suffix(_suffix(path)), sample_rate)
    else:
        make = partial(_copy, path, target, root, sample_rate)
    return Task(printable(relative), make)


def _suffix(path: Path) -> str:
    return path.suffix if path.suffix.lower() in (".wav", ".flac") else ".flac"


def _is_done(target: Path, sample_rate: int) -> bool:
    """A file under its name is whole; that it is what is wanted now, its header tells."""
    if not target.is_file():
        return False
    found = open_clip(target).sample_rate
    if found != sample_rate:
        raise DataError(
            f"is there already, at {found} Hz",
            subject=f"'{printable(target)}'",
            remedy="remove it or name another folder",
        )
    return True


def _resample(path: Path, target: Path, sample_rate: int) -> bool:
    if _is_done(target, sample_rate):
        return False
    try:
        _copy_audio(path, target, sample_rate)
    except AudioReadError as error:
        # How to separate it all the same is of no use here.
        raise DataError(error.reason, subject=error.subject, remedy="get another copy") from error
    return True


def _copy_audio(path: Path, target: Path, sample_rate: int) -> None:
    with open_audio(path) as reader:
        info = reader.info
        encoding = Encoding.for_input(info).within("wav" if target.suffix.lower() == ".wav" else "flac")
        resampler = Resampler(info.sample_rate, sample_rate, info.num_channels)
        length = resampled_length(info.expected_samples or 0, info.sample_rate, sample_rate)
        with AudioWriter(target, sample_rate, info.num_channels, encoding, length, info.tags) as writer:
            for block in reader.blocks(_BLOCK_SAMPLES):
                writer.write(resampler.push(block))
            writer.write(resampler.finish())
            writer.commit()


def _unpack(path: Path, folder: Path, sample_rate: int) -> bool:
    made = False
    for stream, stem in enumerate(STEM_STREAMS):
        target = folder / f"{stem}.flac"
        if _is_done(target, sample_rate):
            continue
        clip = open_clip(path, stream)
        length = resampled_length(clip.num_samples, clip.sample_rate, sample_rate)
        with AudioWriter(target, sample_rate, clip.num_channels, Encoding(container="flac"), length) as writer:
            for start in range(0, length, _BLOCK_SAMPLES):
                writer.write(read_clip(clip, start, min(_BLOCK_SAMPLES, length - start), sample_rate))
            writer.commit()
        made = True
    return made


def _copy(path: Path, target: Path, root: Path, sample_rate: int) -> bool:
    if target.is_file():
        return False
    content = path.read_bytes()
    if path.suffix.lower() == ".csv":
        content = _change_list(content, path, root, sample_rate)
    write_pending(PendingFile(target), content)
    return True


def _change_list(content: bytes, path: Path, root: Path, sample_rate: int) -> bytes:
    """Names of files that become FLAC, and columns that count samples; other tables stay as they are, to the byte."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error):
        return content
    columns = list(reader.fieldnames or [])
    counted = [column for column in _LENGTH_COLUMNS if column in columns]
    if "path" not in columns and not counted:
        return content
    for row in rows:
        source = path.parent / (row.get("path") or "")
        if row.get("path") and source.is_file():
            rate = open_clip(source).sample_rate
            row["path"] = Path(row["path"]).with_suffix(_suffix(source)).as_posix()
        else:
            rate = _rate_of(root)
        for column in counted:
            if (row.get(column) or "").isdigit():
                row[column] = str(resampled_length(int(row[column]), rate, sample_rate))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _rate_of(root: Path) -> int:
    """Of the first recording: lists whose paths lead nowhere, such as LibriMix's, are about files of one rate."""
    return open_clip(next(path for path in sorted(root.rglob("*")) if is_audio(path))).sample_rate
