"""Separates one recording into files: all of its stems, or none.

Separator.stream -> StemWriters and record (hidden files) -> final names
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from unbraid.audio.encode.wav import WavSink
from unbraid.audio.formats import AudioInfo, Encoding, SampleFormat
from unbraid.audio.writing import check_target
from unbraid.errors import AudioWriteError
from unbraid.files.names import printable
from unbraid.files.pending import writing_to
from unbraid.files.protocols import Writable
from unbraid.output.config import TRUE_PEAK_DB, OutputConfig, index_of
from unbraid.output.extras import made_of_stems, refuse_extras
from unbraid.output.naming import OutputPaths
from unbraid.output.record import ModelIdentity, build_record, replacing_record
from unbraid.output.stem_files import StemWriters
from unbraid.separation.events import Block, Event, Finished, Started
from unbraid.separation.separator import Separator

SILENT_PEAK = 1e-7
"""A stem that stays below (-140 dB) is called silent."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """All files of a recording have their names."""

    paths: OutputPaths
    record: dict[str, Any]
    """What the JSON file says."""
    audio_seconds: float
    seconds_taken: float
    gain: float
    """What all stems were multiplied by so that none clips; 1 where nothing was changed."""
    is_silent: bool
    """Whether every stem came out silent."""
    uncertain_joins: int | None
    hardly_heard: tuple[str, ...]
    """Speakers who may be mere leakage, see `Finished`."""
    remarks: tuple[str, ...] = ()
    """On the recording as it was read, see `AudioInfo`."""


def export(
    separator: Separator, source: os.PathLike[str], paths: OutputPaths, output: OutputConfig, model: ModelIdentity
) -> Generator[Event | Exported, None, None]:
    """Separate `source` (a path or an address; Path("-") is standard input) into the files of `paths`.

    Every event is handed on. `paths` may leave stems of the separator out. When anything fails, or the generator is
    closed early, no file of this recording has appeared or changed.
    """
    return separator.reproducible(_export(separator, source, paths, output, model))


def _export(
    separator: Separator, source: os.PathLike[str], paths: OutputPaths, output: OutputConfig, model: ModelIdentity
) -> Generator[Event | Exported, None, None]:
    began = time.perf_counter()
    names = separator.stem_plan.names
    indices = [index_of(stem, names) for stem in paths.stems]
    refuse_to_overwrite(source, paths)
    fresh = missing_folders(paths)
    writers, info = None, None
    try:
        with closing(separator.stream("-" if source == Path("-") else source, scratch=paths.folder)) as events:
            for event in events:
                match event:
                    case Started():
                        info = event.info
                        refuse_extras(source, paths, separator.config, output, info)
                        encoding = output.encoding_for(info)
                        writers = StemWriters(
                            paths.stems,
                            info.sample_rate,
                            info.num_channels,
                            encoding,
                            expected_samples=info.num_samples,
                            tags=info.tags,
                            channel_mask=info.channel_mask,
                            cover=event.cover,
                            loudness_lufs=_loudness(output, paths),
                        )
                        with writing_to(f"'{paths.folder}'"):
                            paths.folder.mkdir(parents=True, exist_ok=True)
                        event = replace(event, cover=None)  # written; events travel between processes
                    case Block():
                        assert writers is not None
                        writers.write(event.samples[indices])
                    case Finished():
                        assert writers is not None
                        assert info is not None
                        writers.encode(output.clip_mode)
                        record = build_record(
                            paths,
                            model=model,
                            separator=separator,
                            output=output,
                            info=info,
                            writers=writers,
                            finished=event,
                            seconds_taken=time.perf_counter() - began,
                        )
                        making = made_of_stems(source, paths, writers, output, track=separator.config.track)
                        with making as extras, replacing_record(paths, record) as pending:
                            writers.commit(output.clip_mode, beside=[*extras.pending, pending])
                        exported = _exported(separator, paths, output, record, info, writers, event, extras.remarks)
                        yield event
                        yield exported
                        return
                yield event
    finally:
        if writers is not None:
            writers.discard()
        remove_empty(fresh)


def _exported(
    separator: Separator,
    paths: OutputPaths,
    output: OutputConfig,
    record: dict[str, Any],
    info: AudioInfo,
    writers: StemWriters,
    finished: Finished,
    more_remarks: list[str],
) -> Exported:
    return Exported(
        paths=paths,
        record=record,
        audio_seconds=finished.num_samples / info.sample_rate,
        seconds_taken=record["seconds_taken"],
        gain=writers.gain,
        is_silent=max(writers.peaks.values()) < SILENT_PEAK,
        uncertain_joins=finished.uncertain_joins,
        hardly_heard=tuple(separator.spec.sources[speaker] for speaker in finished.hardly_heard),
        remarks=(*info.remarks, *_held_back(writers, output), *more_remarks),
    )


def _loudness(output: OutputConfig, paths: OutputPaths) -> dict[str, float]:
    wanted = output.loudness_lufs
    return {} if wanted is None else {stem: wanted for stem in paths.stems if stem == "remix"}


def _held_back(writers: StemWriters, output: OutputConfig) -> list[str]:
    return [
        f"has a {stem} {over_db:.1f} dB softer than {output.loudness_lufs:g} LUFS, because its true peak stays below "
        f"{TRUE_PEAK_DB:g} dB"
        for stem, over_db in writers.held_back.items()
    ]


def export_to_stream(
    separator: Separator, source: os.PathLike[str], stem: str, file: Writable, sample: SampleFormat | None = None
) -> Generator[Event, None, None]:
    """Separate `source` and write one stem as WAV to a file object that need not be seekable, such as a pipe.

    float32 unless `sample` says otherwise: what is gone down the pipe cannot be turned down any more when a later
    sample exceeds full scale.
    """
    index = index_of(stem, separator.stem_plan.names)
    name, sink = "standard output", None
    with closing(separator.stream("-" if source == Path("-") else source)) as events:
        for event in events:
            match event:
                case Started():
                    encoding = Encoding(sample=sample)
                    check_target(event.sample_rate, event.num_channels, encoding)
                    with writing_to(name):
                        sink = WavSink(
                            file,
                            event.sample_rate,
                            event.num_channels,
                            encoding,
                            streamed=True,
                            channel_mask=event.info.channel_mask,
                        )
                case Block():
                    assert sink is not None
                    with writing_to(name):
                        sink.write(event.samples[index])
                case Finished():
                    assert sink is not None
                    with writing_to(name):
                        sink.finish()
                        file.flush()
            yield event


def refuse_to_overwrite(source: os.PathLike[str], paths: OutputPaths) -> None:
    """Raise AudioWriteError if a stem would take the place of the recording itself."""
    there = [path for path in paths.all_stems_and_extras if os.path.lexists(path)]
    if there and os.path.realpath(source) in map(os.path.realpath, there):
        raise AudioWriteError(
            f"a stem of '{printable(source)}' would overwrite it", remedy="choose another `out` or `filename`"
        )


def missing_folders(paths: OutputPaths) -> set[Path]:
    """Folders that will have to be made."""
    missing = set[Path]()
    for folder in {path.parent for path in paths.all_stems_and_extras}:
        missing.update(takewhile(lambda above: not os.path.exists(above), (folder, *folder.parents)))
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders that were made for nothing; those that hold something stay."""
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        with suppress(OSError):
            folder.rmdir()
