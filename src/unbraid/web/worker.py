"""Separates one recording of the queue, with the same Separator and the same files as the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError, UnbraidError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending
from unbraid.models.contract import SeparationModel
from unbraid.output.config import OutputConfig
from unbraid.output.export import Exported, export
from unbraid.output.naming import OutputPaths
from unbraid.output.record import ModelIdentity
from unbraid.output.remarks import remark_on_rate, remarks_on
from unbraid.separation.events import Block, Progress, Started
from unbraid.separation.separator import Separator
from unbraid.web.preview import Tracks, TrackWriter, save_tracks
from unbraid.web.schema import SeparationOptions
from unbraid.web.store import StoredSeparation

_BLOCK_SECONDS = 5
_MODEL_SHARE = 0.95
"""ours: of the time, where speakers are sorted after the model has run."""


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Failed(Exception):
    """A recording could not be separated; the text is a sentence for people."""


def recording_path(folder: Path) -> Path:
    """Where an upload lies; its owner's name for it is nowhere on the disk."""
    return folder / "recording"


def player_folder(folder: Path) -> Path:
    return folder / "player"


def stems_folder(folder: Path) -> Path:
    return folder / "stems"


def plan_stems(folder: Path, stems: tuple[str, ...], output: OutputConfig) -> OutputPaths:
    """One file for each stem, called like it."""
    place, template = stems_folder(folder), output.template
    names = {"track": "recording", "extension": output.container, "track_extension": "", "model": ""}
    paths = {stem: place / template.fill(stem=stem, **names) for stem in stems}
    return OutputPaths(track="recording", stems=paths, record=place / "separation.json")


def separate_stored(
    stored: StoredSeparation,
    folder: Path,
    model: SeparationModel | str,
    identity: ModelIdentity,
    *,
    device: str,
    most_seconds: float,
    on_progress: Callable[[float], None],
    check: Callable[[], None],
) -> dict[str, Any]:
    """Stems, record and player's tracks below `folder`; gives what the store keeps of a result.

    `model` is loaded, or names several as one. `check` is called at every step and raises what is to end this.
    `most_seconds` bounds the audio, whatever a header says.
    """
    shutil.rmtree(stems_folder(folder), ignore_errors=True)
    shutil.rmtree(player_folder(folder), ignore_errors=True)
    options = SeparationOptions.model_validate(stored.options)
    config, output = options.separation, options.output
    separator = Separator(model, device=device, config=config)
    stems = output.choose(separator.stem_plan.names)
    paths = plan_stems(folder, stems, output)
    recording = recording_path(folder)
    mixture = _write_mixture(recording, folder, options, most_seconds, check)
    names, remarks, exported, writer = separator.stem_plan.names, [], None, None
    chosen = [names.index(stem) for stem in stems]
    try:
        with closing(export(separator, recording, paths, output, identity)) as events:
            for event in events:
                check()
                match event:
                    case Started():
                        indices = list(range(1, len(stems) + 1))
                        writer = TrackWriter(player_folder(folder), indices, event.sample_rate, event.num_channels)
                        remark = remark_on_rate(identity.name, separator.spec.sample_rate, event.sample_rate)
                        remarks += [remark] if remark else []
                    case Block():
                        assert writer is not None
                        writer.write(event.samples[chosen])
                    case Progress():
                        on_progress(_fraction(event, separator))
                    case Exported():
                        exported = event
        assert writer is not None
        assert exported is not None
        writer.close()
    finally:
        if writer is not None:
            writer.discard()
    assert writer is not None
    tracks = Tracks(
        names=("mixture", *stems),
        sample_rate=writer.sample_rate,
        num_channels=writer.num_channels,
        num_samples=min(writer.num_samples, mixture.num_samples),
    )
    save_tracks(player_folder(folder), tracks)
    record = {**exported.record, "input": {**exported.record["input"], "name": printable(stored.name)}}
    write_pending(PendingFile(paths.record), json.dumps(record, indent=2, ensure_ascii=False).encode())
    remarks += remarks_on(exported, printable(stored.name), separator.spec.num_sources)
    if exported.gain != 1:
        remarks.append(f"all stems were turned down to {exported.gain:.3f} so that none clips")
    return {
        "record": paths.record.name,
        "stems": {stem: {"file": path.name, "bytes": path.stat().st_size} for stem, path in paths.stems.items()},
        "seconds": exported.audio_seconds,
        "seconds_taken": exported.seconds_taken,
        "remarks": [f"{remark[0].upper()}{remark[1:]}." for remark in remarks],
    }


def say(error: Exception, stored: StoredSeparation, folder: Path) -> str:
    """What went wrong, in one sentence that calls the recording as its owner does."""
    name = f"'{printable(stored.name)}'"
    if isinstance(error, UnbraidError):
        if str(folder) in error.subject:
            return f"{name} {error.predicate}"
        return str(error).replace(f"'{printable(recording_path(folder))}'", name)
    if isinstance(error, OSError):
        return f"{name} could not be separated ({error.strerror or error}): check the disk of the server"
    return f"{name} could not be separated because of a defect of unbraid ({type(error).__name__}: {error})"


def _write_mixture(
    recording: Path, folder: Path, options: SeparationOptions, most_seconds: float, check: Callable[[], None]
) -> TrackWriter:
    """The mixture for the player; on the way, whether all of the recording decodes and how long it really is."""
    with open_audio(
        recording, allow_truncated=options.allow_truncated, replace_nonfinite=options.replace_nonfinite
    ) as reader:
        info = reader.info
        writer = TrackWriter(player_folder(folder), [0], info.sample_rate, info.num_channels)
        with closing(_Closing(writer)):
            samples = 0
            for block in reader.blocks(_BLOCK_SECONDS * info.sample_rate):
                check()
                samples += block.shape[1]
                if samples > most_seconds * info.sample_rate:
                    raise AudioReadError(
                        f"is longer than {most_seconds / 60:.4g} minutes",
                        subject=info.name,
                        remedy="cut it into shorter pieces",
                    )
                writer.write(np.ascontiguousarray(block)[None])
            writer.close()
    return writer


class _Closing:
    """Lets go of the files, whatever happens."""

    def __init__(self, writer: TrackWriter) -> None:
        self.close = writer.discard


def _fraction(progress: Progress, separator: Separator) -> float:
    """How far the whole is, from 0 to 1."""
    if not progress.expected_seconds:
        return 0.0
    share = min(1.0, progress.done_seconds / progress.expected_seconds)
    if not separator.spec.exchangeable or separator.config.tracking == "online":
        return share
    return share * _MODEL_SHARE if progress.stage == "separate" else _MODEL_SHARE + share * (1 - _MODEL_SHARE)
