"""Separates one recording into files: all of its stems, or none.

Separator.stream -> StemWriters (hidden files) -> final names -> record beside them
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from unbraid.audio.encode.wav import WavSink
from unbraid.audio.formats import AudioInfo, Container, Encoding, SampleFormat
from unbraid.audio.writing import check_target
from unbraid.errors import AudioWriteError, ConfigError
from unbraid.files.names import printable
from unbraid.files.pending import writing_to
from unbraid.files.protocols import Writable
from unbraid.output.naming import OutputPaths
from unbraid.output.record import ModelIdentity, forget, separation_settings, write_record
from unbraid.output.stem_files import ClipMode, StemWriters
from unbraid.separation.events import Block, Event, Finished, Started
from unbraid.separation.separator import Separator

SILENT_PEAK = 1e-7
"""A stem that stays below (-140 dB) is called silent."""


@dataclass(frozen=True, kw_only=True)
class EncodingChoice:
    """How stems are stored; what is left open follows the recording."""

    container: Container = "wav"
    sample: SampleFormat | None = None
    """None keeps the depth of the recording as nearly as the container can."""
    bitrate_kbps: int = 320
    """MP3 only."""
    clip_mode: ClipMode = "rescale"

    def __post_init__(self) -> None:
        Encoding(container=self.container, sample=self.sample, bitrate_kbps=self.bitrate_kbps)

    def for_input(self, info: AudioInfo) -> Encoding:
        kept = Encoding.for_input(info).within(self.container)
        return replace(kept, sample=self.sample or kept.sample, bitrate_kbps=self.bitrate_kbps)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """All files of a recording have their names."""

    paths: OutputPaths
    record: dict[str, object]
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


def export_settings(separator: Separator, choice: EncodingChoice) -> dict[str, object]:
    """Everything, beside model and recording, that the files depend on."""
    return separation_settings(separator) | asdict(choice)


def export(
    separator: Separator, source: Path, paths: OutputPaths, choice: EncodingChoice, model: ModelIdentity
) -> Generator[Event | Exported, None, None]:
    """Separate `source` (Path("-") is standard input) into the files of `paths`; every event is handed on.

    `paths` may leave stems of the separator out. When anything fails, or the generator is closed early, no file of
    this recording has appeared or changed.
    """
    began = time.perf_counter()
    names = separator.stem_plan.names
    indices = [index_of(stem, names) for stem in paths.stems]
    refuse_to_overwrite(source, paths)
    fresh = _missing_folders(paths)
    writers, info = None, None
    try:
        with closing(separator.stream("-" if source == Path("-") else source, scratch=paths.folder)) as events:
            for event in events:
                match event:
                    case Started():
                        info = event.info
                        encoding = choice.for_input(info)
                        writers = StemWriters(
                            paths.stems,
                            info.sample_rate,
                            info.num_channels,
                            encoding,
                            expected_samples=info.num_samples,
                            tags=info.tags,
                        )
                        with writing_to(f"'{paths.folder}'"):
                            paths.folder.mkdir(parents=True, exist_ok=True)
                    case Block():
                        assert writers is not None
                        writers.write(event.samples[indices])
                    case Finished():
                        assert writers is not None
                        assert info is not None
                        forget(paths)
                        writers.commit(choice.clip_mode)
                        exported = _exported(separator, source, paths, choice, model, info, writers, event, began)
                        yield event
                        yield exported
                        return
                yield event
    finally:
        if writers is not None:
            writers.discard()
        # Folders that were made for nothing; those that hold something stay.
        for folder in fresh:
            with suppress(OSError):
                folder.rmdir()


def _exported(
    separator: Separator,
    source: Path,
    paths: OutputPaths,
    choice: EncodingChoice,
    model: ModelIdentity,
    info: AudioInfo,
    writers: StemWriters,
    finished: Finished,
    began: float,
) -> Exported:
    seconds = time.perf_counter() - began
    record = write_record(
        paths,
        model=model,
        settings=export_settings(separator, choice),
        device=str(separator.device),
        info=info,
        input_bytes=None if source == Path("-") else os.stat(source).st_size,
        writers=writers,
        finished=finished,
        seconds_taken=seconds,
    )
    return Exported(
        paths=paths,
        record=record,
        audio_seconds=finished.num_samples / info.sample_rate,
        seconds_taken=seconds,
        gain=writers.gain,
        is_silent=max(writers.peaks.values()) < SILENT_PEAK,
        uncertain_joins=finished.uncertain_joins,
        hardly_heard=tuple(separator.spec.sources[speaker] for speaker in finished.hardly_heard),
    )


def export_to_stream(
    separator: Separator, source: Path, stem: str, file: Writable, sample: SampleFormat | None = None
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
                        sink = WavSink(file, event.sample_rate, event.num_channels, encoding, streamed=True)
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


def refuse_to_overwrite(source: Path, paths: OutputPaths) -> None:
    """Raise AudioWriteError if a stem would take the place of the recording itself."""
    if any(os.path.realpath(path) == os.path.realpath(source) for path in paths.stems.values()):
        raise AudioWriteError(
            f"a stem of '{printable(source)}' would overwrite it", remedy="choose another `out` or `filename`"
        )


def _missing_folders(paths: OutputPaths) -> list[Path]:
    """Folders that will have to be made, the deepest first."""
    folders = {folder for path in paths.stems.values() for folder in path.parents}
    return sorted((folder for folder in folders if not os.path.exists(folder)), key=lambda folder: -len(folder.parts))


def index_of(stem: str, names: tuple[str, ...]) -> int:
    """Place of a stem among those that the separator gives."""
    if stem not in names:
        raise ConfigError(f"there is no stem '{stem}': with these settings there are: {', '.join(names)}")
    return names.index(stem)
