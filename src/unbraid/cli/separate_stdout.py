"""Separates one recording into a pipe, for `unbraid separate -o -`."""

from __future__ import annotations

import sys
from pathlib import Path

from unbraid.audio.discovery import Discovery
from unbraid.cli.messages import LogLevel
from unbraid.cli.progress import make_report
from unbraid.errors import ConfigError
from unbraid.files.names import printable
from unbraid.output.config import OutputConfig
from unbraid.output.export import export_to_stream
from unbraid.separation.events import Finished, Progress, Started
from unbraid.separation.separator import Separator


def separate_to_stdout(
    found: Discovery, separator: Separator, output: OutputConfig, *, level: LogLevel, as_json: bool
) -> None:
    """Writes the one stem of the one recording to stdout; what is shown goes to stderr."""
    stems = output.choose(separator.stem_plan.names)
    if found.errors:
        raise found.errors[0]
    if len(found.files) != 1:
        raise ConfigError(f"standard output takes one recording, not {len(found.files)}: choose a folder with --out")
    if len(stems) != 1:
        raise ConfigError(f"standard output takes one stem: add --stem with one of {', '.join(stems)}")
    if output.container != "wav":
        raise ConfigError("standard output takes WAV only: leave --flac, --mp3 and --ogg out, or choose a folder")
    if output.loudness_lufs is not None:
        raise ConfigError("a loudness is known at the end only, when standard output has taken all: choose a folder")
    if sys.stdout.isatty():
        raise ConfigError("standard output is a terminal: send it to a file or a program, as in  … -o - > one.wav")
    path = found.files[0].path
    shown = "standard input" if path == Path("-") else printable(path)
    with make_report(1, level, as_json=as_json) as report:
        for event in export_to_stream(separator, path, stems[0], sys.stdout.buffer, output.sample):
            match event:
                case Started():
                    report.start(0, shown, event.expected_seconds)
                case Progress():
                    report.advance(0, event)
                case Finished():
                    text = f"{shown}: '{stems[0]}' is on standard output"
                    report.finish(0, text, {"input": shown, "status": "done", "stems": {stems[0]: "-"}})
