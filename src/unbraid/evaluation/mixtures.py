"""Fixed lists as audio files: what another tool is given, so that all are scored on the same mixtures."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path

from unbraid.audio.formats import Encoding
from unbraid.audio.writing import AudioWriter
from unbraid.data.clips import open_clip
from unbraid.data.prepare.tasks import Prepared, PrepareEvent, Task, Wrote, run_tasks
from unbraid.errors import DataError
from unbraid.evaluation.tracks import Track, check_names, open_list
from unbraid.files.names import printable

_MIXTURE = "mixture"


def prepare_mixtures(name: str, root: Path, out: Path, jobs: int = 1) -> Generator[PrepareEvent, None, None]:
    """Writes OUT/track/mixture.wav and a file for each source, in 32-bit floats; what is there already is left.

    `name` is that of a committed list or of a CSV file, `root` the corpus. Raises DataError where they do not go
    together.
    """
    tracks = open_list(name, root).tracks
    check_names(tracks)
    for track in tracks:
        if Path(track.name).name != track.name:
            raise DataError(f"the list has a mixture called '{printable(track.name)}', which is no name of a folder")
    written = 0
    for event in run_tasks(
        [Task(track.name, partial(_write_track, track, out / track.name)) for track in tracks], jobs
    ):
        written += isinstance(event, Prepared)
        yield event
    if written:
        yield Wrote(printable(out), f"{written} mixtures and their sources")


def _write_track(track: Track, folder: Path) -> bool:
    made = False
    for name in (_MIXTURE, *track.sources):
        target = folder / f"{name}.wav"
        if _is_done(target, track):
            continue
        read = track.read_mixture if name == _MIXTURE else partial(track.read_reference, name)
        encoding = Encoding(container="wav", sample="float32")
        with AudioWriter(target, track.sample_rate, track.num_channels, encoding, track.num_samples) as writer:
            writer.write(read(0, track.num_samples))
            writer.commit()
        made = True
    return made


def _is_done(target: Path, track: Track) -> bool:
    """A file under its name is whole; that it is of this list, its rate and length tell."""
    if not target.is_file():
        return False
    found = open_clip(target)
    if (found.sample_rate, found.num_samples) != (track.sample_rate, track.num_samples):
        raise DataError(
            "is there already, of another length or rate",
            subject=f"'{printable(target)}'",
            remedy="name another folder",
        )
    return True
