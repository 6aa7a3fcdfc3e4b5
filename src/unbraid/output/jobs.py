"""Many recordings: what is to be done, under which names, and what is told while it is done."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath

from unbraid.audio.discovery import AudioFile
from unbraid.errors import ConfigError, UnbraidError
from unbraid.files.names import printable
from unbraid.files.remote import Url
from unbraid.output.config import OutputConfig
from unbraid.output.export import Exported
from unbraid.output.naming import OutputPaths, plan_paths, safe_name
from unbraid.separation.events import Progress, Started


@dataclass(frozen=True)
class Job:
    """One recording and where its stems go."""

    file: AudioFile
    paths: OutputPaths
    target: Url | None = None
    """The address below which the paths are, which are relative then."""

    @property
    def name(self) -> str:
        return "standard input" if self.file.path == Path("-") else printable(self.file.path)

    def place(self, path: Path) -> str:
        """Where one of its files or its folder is, as it is shown."""
        return printable(path if self.target is None else self.target / path)


@dataclass(frozen=True, kw_only=True)
class RecordingStarted:
    index: int
    """Place of the recording in the list of jobs, from 0."""
    job: Job
    started: Started


@dataclass(frozen=True, kw_only=True)
class RecordingProgress:
    index: int
    job: Job
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class RecordingDone:
    index: int
    job: Job
    exported: Exported

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.exported.seconds_taken


@dataclass(frozen=True, kw_only=True)
class RecordingSkipped:
    """Its stems were there already, made by the same model with the same settings."""

    index: int
    job: Job


@dataclass(frozen=True, kw_only=True)
class RecordingFailed:
    index: int
    job: Job
    message: str
    """One sentence."""
    error: Exception
    """An `UnbraidError` or an `OSError` is the user's to mend; anything else is a defect of ours."""

    @property
    def is_defect(self) -> bool:
        return not isinstance(self.error, UnbraidError | OSError)


BatchEvent = RecordingStarted | RecordingProgress | RecordingDone | RecordingSkipped | RecordingFailed


def plan_jobs(
    files: Iterable[AudioFile],
    out: Path | Url,
    stems: tuple[str, ...],
    *,
    model: str,
    output: OutputConfig | None = None,
    passage: str = "",
) -> list[Job]:
    """Decides all file names before anything runs, so that no recording overwrites the stems of another.

    Where two recordings would have the same files, as a.wav and a.mp3 have, the second is called "a (mp3)", and where
    that is taken as well, "a (2)" and so on.
    `stems` are those to write, as `OutputConfig.choose` gives them. With a `passage`, recordings are called
    "talk (10-40 s)".
    """
    output = output or OutputConfig()
    target, root = (out, Path()) if isinstance(out, Url) else (None, out)
    template = output.template
    if len(stems) > 1 and "stem" not in template.fields:
        raise ConfigError(
            "gives all stems the same name", subject=f"`filename` '{template.text}'", remedy="put {stem} into it"
        )
    jobs: list[Job] = []
    taken: set[str] = set()
    for file in files:
        for track in _track_names(file, passage):
            paths = plan_paths(
                root,
                file.relative.parent,
                template,
                track=track,
                track_extension=_extension(file),
                stems=stems,
                extension=output.container,
                model=model,
                video_stem=output.video,
                stem_file=output.stem_file,
            )
            keys = {_key(path) for path in (*paths.all_stems_and_extras, paths.record)}
            if not keys & taken:
                break
            if "track" not in template.fields:
                raise ConfigError(
                    "gives several recordings the same name",
                    subject=f"`filename` '{template.text}'",
                    remedy="put {track} into it",
                )
        taken |= keys
        jobs.append(Job(file, paths, target))
    return jobs


def shard(jobs: Sequence[Job], index: int, shards: int) -> list[Job]:
    """Every so many-th job from the `index`-th on (from 1); all shards together are all jobs, each once."""
    if not 1 <= index <= shards:
        raise ConfigError(
            "does not exist",
            subject=f"`shard` {index}/{shards}",
            remedy=f"shards go from 1/{shards} to {shards}/{shards}",
        )
    return list(jobs[index - 1 :: shards])


def _track_names(file: AudioFile, passage: str) -> Iterator[str]:
    """The name of the recording, then other names for it."""
    name = PurePath(file.relative.name).stem
    if passage:
        name = f"{safe_name(name, longest_bytes=100)} ({passage})"
    yield name
    # Cut so far that the mark survives when the whole is cut again.
    short = safe_name(name, longest_bytes=120)
    if extension := _extension(file)[:10]:
        yield f"{short} ({extension})"
    yield from (f"{short} ({number})" for number in count(2))


def _extension(file: AudioFile) -> str:
    return file.relative.suffix.removeprefix(".")


def _key(path: Path) -> str:
    """The same for paths that some file systems take for one, whatever the capitals and the form of the accents."""
    return unicodedata.normalize("NFC", str(path)).casefold()
