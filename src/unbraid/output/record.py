"""The JSON file beside the stems that tells how they were made, and by which a finished recording is known again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

import unbraid
from unbraid.audio.formats import AudioInfo
from unbraid.files.pending import PendingFile, commit_all, writing_to
from unbraid.output.naming import OutputPaths
from unbraid.output.stem_files import StemWriters
from unbraid.separation.events import Finished
from unbraid.separation.separator import Separator
from unbraid.weights.store import hash_tensors, inspect_model

FORMAT = 1


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made the stems."""

    name: str
    sha256: str
    """Over the weights, as `weights.store` counts it."""

    @classmethod
    def of(cls, source: str | Path) -> ModelIdentity:
        """That of a bundled model or a weights file, read without loading it."""
        stored = inspect_model(source)
        return cls(stored.name, stored.sha256)

    @classmethod
    def of_separator(cls, separator: Separator, name: str) -> ModelIdentity:
        """That of a model in memory."""
        return cls(name, hash_tensors({key: tensor.cpu() for key, tensor in separator.model.state_dict().items()}))


def separation_settings(separator: Separator) -> dict[str, object]:
    """What the samples of the stems depend on, beside model and recording."""
    remix = {name: str(gain_db) for name, gain_db in separator.stem_plan.remix.items()}
    settings: dict[str, object] = {
        "segment_seconds": separator.plan.chunk / separator.spec.sample_rate,
        "overlap": round(separator.plan.overlap / separator.plan.chunk, 6),
        "join": separator.plan.join,
        "shift_samples": list(separator.offsets),
        "consistency": separator.stem_plan.consistency,
        "two_stems": separator.stem_plan.two_stems,
        "other_method": separator.stem_plan.other_method,
        "tracking": separator.tracking if separator.spec.exchangeable else None,
        "allow_truncated": separator.allow_truncated,
        "mend_samples": separator.mend_samples,
    }
    return settings | {"remix_db": remix} if remix else settings


def write_record(
    paths: OutputPaths,
    *,
    model: ModelIdentity,
    settings: dict[str, object],
    device: str,
    info: AudioInfo,
    input_bytes: int | None,
    writers: StemWriters,
    finished: Finished,
    seconds_taken: float,
) -> dict[str, object]:
    """Write the record atomically and return it."""
    record: dict[str, object] = {
        "format": FORMAT,
        "model": {"name": model.name, "sha256": model.sha256},
        "unbraid": unbraid.__version__,
        "torch": torch.__version__,
        "device": device,
        "settings": settings,
        "input": {
            "name": info.name.strip("'"),
            "sample_rate": info.sample_rate,
            "channels": info.num_channels,
            "samples": finished.num_samples,
            "seconds": finished.num_samples / info.sample_rate,
            "bytes": input_bytes,
        },
        "stems": {
            stem: {"file": _relative(path, paths.folder), "peak": round(writers.peaks[stem] * writers.gain, 6)}
            for stem, path in paths.stems.items()
        },
        "gain": writers.gain,
        "uncertain_joins": finished.uncertain_joins,
        "heard_seconds": finished.heard_seconds,
        "seconds_taken": round(seconds_taken, 3),
        "model_seconds": round(finished.model_seconds, 3),
    }
    pending = PendingFile(paths.record)
    try:
        with writing_to(pending.name):
            pending.file.write(json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        commit_all([pending])
    finally:
        pending.discard()
    return record


def is_done(paths: OutputPaths, model: ModelIdentity, settings: dict[str, object], source: Path) -> bool:
    """Whether the stems of `source` are all there and were made by this model with these settings.

    A recording that has changed its size, or is newer than the record of its stems, is not done.
    """
    try:
        record = json.loads(paths.record.read_bytes())
        stat = os.stat(source)
        return (
            record["format"] == FORMAT
            and record["model"]["sha256"] == model.sha256
            and record["settings"] == json.loads(json.dumps(settings))
            and record["input"]["bytes"] == stat.st_size
            and stat.st_mtime <= os.stat(paths.record).st_mtime
            and {stem: entry["file"] for stem, entry in record["stems"].items()}
            == {stem: _relative(path, paths.folder) for stem, path in paths.stems.items()}
            and all(path.stat().st_size > 0 for path in paths.stems.values())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def forget(paths: OutputPaths) -> None:
    """Remove the record of earlier stems, so that it never stands beside new ones that it does not describe."""
    with suppress(OSError):
        paths.record.unlink()


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")
