"""Rebuilds the corpus that the bundled models are trained on, from copies of the public repositories it comes from.

`data/lists/corpus/` says what is in it; no audio is kept in this package and nothing is downloaded. Unpack or clone
what SOURCES names into one folder. What comes out is a folder of the layout `corpus`.

Speech is the same to the sample, which a digest of every file proves, so that the lists for validation and test mean
the same mixtures (the models were trained on a part of it in Opus). Songs are summed anew from the parts that make up
each stem, and sounds become mono; both were stored with loss in the original, so they are the same recordings and not
the same bits. So are the sentences of `intent`, sounds that were trimmed, and whole instrumentals, which are known by
name and length. MIDI files and song projects of LMMS are copied.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from unbraid.audio.formats import Encoding
from unbraid.audio.recording import Recording
from unbraid.audio.writing import write_audio
from unbraid.data.clips import open_clip
from unbraid.data.layouts.csv_list import Row, read_rows
from unbraid.data.layouts.layout import is_audio
from unbraid.data.prepare.tasks import Failed, PrepareEvent, Task, Wrote, run_tasks
from unbraid.errors import DataError, UnbraidError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending
from unbraid.signal.lengths import fit_length

TABLES = Path(__file__).parents[1] / "lists" / "corpus"

SOURCES: Mapping[str, str] = {
    "libri": "github.com/resemble-ai/Resemblyzer (audio_data), or LibriSpeech itself",
    "ocean": "github.com/jimbozhang/speechocean762 (WAVE)",
    "intent": "github.com/Picovoice/speech-to-intent-benchmark (data/speech)",
    "everything_is_free": "github.com/ichbinsoftware/everythingisremixed (src)",
    "film": "github.com/openclonk/openclonk (planet/Music.ocg), github.com/unknown-horizons/unknown-horizons "
    "(content/audio/music) and github.com/redeclipse (data, sounds/music)",
    "midi": "github.com/freedoom/freedoom (musics)",
    "lmms": "github.com/LMMS/lmms (data/projects/demos)",
    "esc10": "github.com/karolpiczak/ESC-50 (audio)",
    "blanket": "github.com/rafaelmardojai/blanket (data/resources/sounds)",
    "sonic-pi": "github.com/sonic-pi-net/sonic-pi (etc/samples)",
    "speech_commands_noise": "Speech Commands (_background_noise_)",
    "berlin_noise": "Berlin Noise by Thomas Rosen",
    "berklee": "github.com/Tonejs/audio (berklee)",
    "openclonk": "github.com/openclonk/openclonk (planet)",
    "redeclipse": "github.com/redeclipse (data, sounds)",
}
"""Collection, which is the first folder of the paths in a list -> where it comes from."""

_FOLDERS = {"blanket": "blanket", "sonic-pi": "sonic-pi", "berklee": "berklee", "openclonk": "openclonk"}
"""Names such as rain and train may stand for anything, so that the folder of these has to be called like this."""

_FILM_PROJECTS = ("openclonk", "redeclipse", "unknown-horizons")
"""Whole instrumentals are called by the project they come from and by their name there."""

_TRIMMED = ("berklee", "openclonk", "redeclipse")
"""Collections whose sounds begin where they are loud and end early, beside the original."""

_AUDIBLE = 0.003
"""ours: of the largest sample; a trimmed sound begins with the first sample above."""

_PARTS = {"speech": "speech", "music": "music", "midi": "music", "lmms": "music", "fx": "fx"}
"""List -> folder of the corpus."""

_NAME_DEPTH = 4

_SONG_RATE, _SONG_PEAK = 44100, 0.885
_LENGTH_SECONDS = 0.05
"""How far the length may be off where there is no digest."""

Index = Mapping[str, list[Path]]


def prepare_corpus(sources: Path, out: Path, jobs: int = 1) -> Generator[PrepareEvent, None, None]:
    """Builds what the copies below `sources` allow; a collection that is not there at all is one `Failed`.

    The manifests list what has been built, now or before.
    """
    if not sources.is_dir():
        raise DataError(
            "is not a folder",
            subject=f"'{printable(sources)}'",
            remedy="name the one that holds the copies of the sources",
        )
    index = _index(sources)
    lists = {name: list(read_rows(TABLES / f"{name}.csv")) for name in _PARTS}
    tasks, absent = [], []
    for name, rows in lists.items():
        folder = out / _PARTS[name]
        for collection in dict.fromkeys(_collection(row) for row in rows):
            chosen = [row for row in rows if _collection(row) == collection]
            built = any((folder / row["path"]).is_file() for row in chosen)
            if not built and not any(_find(index, row, collection) for row in chosen):
                reason = f"nothing of it is below '{printable(sources)}'; it comes from {SOURCES[collection]}"
                absent.append(Failed(collection, reason))
                continue
            tasks += _plan(name, chosen, index, folder)
    if not tasks:
        raise DataError(f"holds nothing of the corpus, such as {SOURCES['libri']}", subject=f"'{printable(sources)}'")
    yield from absent
    yield from run_tasks(tasks, jobs)
    for name in ("speech", "music", "fx"):
        count = _write_manifest(lists[name], out / _PARTS[name])
        if count:
            yield Wrote(printable(out / _PARTS[name] / "manifest.csv"), f"{count} files")


def _collection(row: Row) -> str:
    return row["path"].split("/", 1)[0]


def _index(sources: Path) -> Index:
    """File name without extension -> where there are such files. Large files of a partial copy may be empty.

    A name that takes folders in is one as well: sounds_ambience_alarm for sounds/ambience/alarm.ogg.
    """
    index: dict[str, list[Path]] = {}
    for path in sorted(sources.rglob("*")):
        wanted = is_audio(path) or path.suffix.lower() in (".mid", ".mmpz")
        if wanted and path.is_file() and path.stat().st_size:
            # ESC-50 puts the class behind the name that ESC-10 has.
            stem = re.sub(r"^(\d-\d+-[A-Z])-\d+$", r"\1", path.stem)
            parts = [*path.relative_to(sources).parts[:-1], stem]
            for depth in range(1, min(_NAME_DEPTH, len(parts)) + 1):
                index.setdefault(_plain("_".join(parts[-depth:])), []).append(path)
    return index


def _plain(name: str) -> str:
    """Without signs that not every disk takes, as the corpus has its names."""
    return re.sub(r"[^a-z0-9._ -]", "_", name.lower())


def _find(index: Index, row: Row, collection: str) -> list[Path]:
    """Candidates for the one file of a row, or for the first part of a stem."""
    if row.get("files"):
        return _find_part(index, row["track"], row["files"].split("|")[0])
    name, wanted = row.get("original") or Path(row["path"]).stem, _FOLDERS.get(collection)
    if collection == "film":
        wanted = next(project for project in _FILM_PROJECTS if name.startswith(project))
        name = name.removeprefix(f"{wanted}-")
    found = index.get(_plain(name), [])
    return [path for path in found if wanted is None or any(wanted in part.lower() for part in path.parts)]


def _find_part(index: Index, track: str, part: str) -> list[Path]:
    """The form for phones only where there is no other."""
    name = _plain(f"{track}_stem_{part}")
    return index.get(name) or index.get(f"{name}_mobile", [])


def _plan(name: str, rows: list[Row], index: Index, folder: Path) -> list[Task]:
    if name == "music":
        songs: dict[str, list[Row]] = {}
        for row in rows:
            if row["files"]:
                songs.setdefault(row["track"], []).append(row)
        tasks = [Task(track, partial(_build_song, stems, index, folder)) for track, stems in songs.items()]
        whole = [row for row in rows if not row["files"]]
        return tasks + [Task(row["path"], partial(_build_whole, row, index, folder / row["path"])) for row in whole]
    build = {"speech": _build_speech, "fx": _build_sound, "midi": _copy_file, "lmms": _copy_file}[name]
    return [Task(row["path"], partial(build, row, index, folder / row["path"])) for row in rows]


def _candidates(row: Row, index: Index) -> list[Path]:
    found = _find(index, row, _collection(row))
    if not found:
        raise DataError(f"there is no such file; it comes from {SOURCES[_collection(row)]}")
    return found


def _build_speech(row: Row, index: Index, target: Path) -> bool:
    if target.is_file():
        return False
    for path in _candidates(row, index):
        recording = Recording.read(path)
        if _digest(recording.samples) == row["digest"] or (not row["digest"] and _is_as_long(recording, row)):
            write_audio(target, recording.samples, recording.sample_rate, Encoding(container="flac", sample="int16"))
            return True
    raise DataError("the file of that name holds other samples than the corpus had", remedy="get the original")


def _digest(samples: np.ndarray) -> str:
    coarse = np.rint(samples.T * np.float32(32768)).clip(-32768, 32767).astype("<i2")
    return hashlib.blake2b(coarse.tobytes(), digest_size=8).hexdigest()


def _build_sound(row: Row, index: Index, target: Path) -> bool:
    if target.is_file():
        return False
    for path in _candidates(row, index):
        recording = Recording.read(path)
        mono = recording.samples.mean(axis=0, keepdims=True)
        if not (as_long := _is_as_long(recording, row)) and _collection(row) in _TRIMMED:
            trimmed = _trimmed(mono, round(float(row["seconds"]) * recording.sample_rate))
            mono, as_long = (mono, False) if trimmed is None else (trimmed, True)
        if as_long:
            write_audio(target, mono, recording.sample_rate, Encoding(container="flac", sample="int16"))
            return True
    raise DataError(f"the file of that name is not {row['seconds']} s long", remedy="get the original")


def _is_as_long(recording: Recording, row: Row) -> bool:
    return abs(recording.samples.shape[1] / recording.sample_rate - float(row["seconds"])) < _LENGTH_SECONDS


def _trimmed(samples: np.ndarray, wanted: int) -> np.ndarray | None:
    """So many samples from where it begins to sound; None where there are fewer in all."""
    spare = samples.shape[1] - wanted
    if spare < 0:
        return None
    loud = np.abs(samples[0]) > _AUDIBLE * max(float(np.abs(samples).max(initial=0)), 1e-9)
    start = min(int(loud.argmax()), spare)
    return samples[:, start : start + wanted]


def _build_whole(row: Row, index: Index, target: Path) -> bool:
    """A whole instrumental in its own channels and rate."""
    if target.is_file():
        return False
    for path in _candidates(row, index):
        recording = Recording.read(path)
        if _is_as_long(recording, row):
            peak = float(np.abs(recording.samples).max(initial=0))
            samples = recording.samples * np.float32(min(1.0, 1 / max(peak, 1e-6)))
            write_audio(target, samples, recording.sample_rate, Encoding(container="flac", sample="int16"))
            return True
    raise DataError(f"the file of that name is not {row['seconds']} s long", remedy="get the original")


def _copy_file(row: Row, index: Index, target: Path) -> bool:
    if target.is_file():
        return False
    for path in _candidates(row, index):
        content = path.read_bytes()
        if hashlib.blake2b(content, digest_size=8).hexdigest() == row["digest"]:
            write_pending(PendingFile(target), content)
            return True
    raise DataError("the file of that name is another piece than the corpus had", remedy="get a newer or older version")


def _build_song(rows: list[Row], index: Index, folder: Path) -> bool:
    """All stems of a song, at one gain, so that none of them nor their sum clips."""
    if all((folder / row["path"]).is_file() for row in rows):
        return False
    stems = {row["path"]: _sum_parts(row, index) for row in rows}
    length = round(float(rows[0]["seconds"]) * _SONG_RATE)
    fitted = {path: fit_length(samples, length) for path, samples in stems.items()}
    peak = max(float(np.abs(samples).max()) for samples in [*fitted.values(), np.sum(list(fitted.values()), axis=0)])
    for path, samples in fitted.items():
        scaled = samples * np.float32(_SONG_PEAK / max(peak, 1e-6))
        write_audio(folder / path, scaled, _SONG_RATE, Encoding(container="flac", sample="int16"))
    return True


def _sum_parts(row: Row, index: Index) -> np.ndarray:
    """(channel, sample): what the author gives as many tracks, as one stem."""
    total = np.zeros((2, 0), np.float32)
    for part in row["files"].split("|"):
        found = _find_part(index, row["track"], part)
        if not found:
            raise DataError(
                f"the part '{part}' of the {row['stem']} is not there", remedy=f"copy all of src/{row['track']}"
            )
        samples = Recording.read(found[0]).resampled(_SONG_RATE).samples
        longest = max(total.shape[1], samples.shape[1])
        total = fit_length(total, longest) + fit_length(np.broadcast_to(samples, (2, samples.shape[1])), longest)
    return total


def _write_manifest(rows: list[Row], folder: Path) -> int:
    """Of the files that are there, with their true lengths; how many they are."""
    lines = []
    for row in rows:
        if (folder / row["path"]).is_file():
            try:
                clip = open_clip(folder / row["path"])
            except UnbraidError:
                continue
            facts = {key: value for key, value in row.items() if key not in ("digest", "files", "original")}
            lines.append({**facts, "seconds": f"{clip.seconds:.3f}"})
    if lines:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_pending(PendingFile(folder / "manifest.csv"), text.getvalue().encode())
    return len(lines)
