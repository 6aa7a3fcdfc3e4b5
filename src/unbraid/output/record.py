"""The JSON file beside the stems that tells how they were made, and by which a finished recording is known again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

import unbraid
from unbraid.audio.formats import AudioInfo
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError
from unbraid.files.json_text import parse_json, read_json
from unbraid.files.leftovers import BEFORE
from unbraid.files.pending import PendingFile, writing_to
from unbraid.files.remote import Url, facts_of, is_url, read_url
from unbraid.output.config import OutputConfig
from unbraid.output.naming import OutputPaths
from unbraid.output.stem_files import StemWriters
from unbraid.separation.compositions.identity import identify
from unbraid.separation.events import Finished
from unbraid.separation.separator import Separator
from unbraid.weights.store import hash_tensors

FORMAT = 2
"""1 had the settings in another form, which `is_done` still reads."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made the stems."""

    name: str
    sha256: str
    """Over the weights, as `weights.store` counts it."""

    @classmethod
    def of(cls, source: str | Path) -> ModelIdentity:
        """That of a bundled model, a weights file, or several as one, read without loading them."""
        return cls(*identify(source))

    @classmethod
    def of_separator(cls, separator: Separator, name: str) -> ModelIdentity:
        """That of a model in memory."""
        return cls(name, hash_tensors({key: tensor.cpu() for key, tensor in separator.model.state_dict().items()}))


def record_settings(separator: Separator, output: OutputConfig) -> dict[str, Any]:
    """What the files depend on, beside model and recording: every setting but those that the files' names show."""
    separation = {field.name: getattr(separator.config, field.name) for field in fields(separator.config)}
    if separator.config.raw is not None:
        separation["raw"] = asdict(separator.config.raw)
    if separator.config.remix:
        separation["remix"] = {name: _gain(gain_db) for name, gain_db in separator.config.remix.items()}
    written = asdict(output)
    # How many chunks go through the model together changes the time it takes, and nothing that is heard.
    for name in ("track", "raw", "start_seconds", "duration_seconds", "preview_seconds"):
        if separation[name] is None:
            del separation[name]
    if not separation["deterministic"]:
        del separation["deterministic"]
    for name in ("loudness_lufs", "video", "video_sound", "video_keep_sounds", "stem_file"):
        if not written[name] or (name == "video_sound" and not output.video):
            del written[name]
    del separation["batch_size"], written["filename"], written["stems"]
    return {"separation": separation, "output": written}


def _gain(gain_db: float) -> float | str:
    """JSON has no infinity."""
    return "off" if gain_db == -math.inf else gain_db


def _settings_of_format_1(separator: Separator, output: OutputConfig) -> dict[str, Any]:
    """The same settings as records had them up to version 0.1.0."""
    config, plan, rate = separator.config, separator.plan, separator.spec.sample_rate
    settings: dict[str, Any] = {
        "segment_seconds": plan.chunk / rate,
        "overlap": round(plan.overlap / plan.chunk, 6),
        "join": config.join,
        "shift_samples": [0, *separator.offsets],
        "consistency": config.consistency,
        "two_stems": config.two_stems,
        "other_method": config.other_method,
        "tracking": config.tracking if separator.spec.exchangeable else None,
        "allow_truncated": config.allow_truncated,
        "mend_samples": config.replace_nonfinite,
        "container": output.container,
        "sample": output.sample,
        "bitrate_kbps": output.bitrate_kbps,
        "clip_mode": output.clip_mode,
    }
    if config.refine != "none":
        settings["refine"] = config.refine
    if config.remix:
        settings["remix_db"] = {name: str(gain_db) for name, gain_db in config.remix.items()}
    return settings


def build_record(
    paths: OutputPaths,
    *,
    model: ModelIdentity,
    separator: Separator,
    output: OutputConfig,
    info: AudioInfo,
    writers: StemWriters,
    finished: Finished,
    seconds_taken: float,
) -> dict[str, Any]:
    """What the file says."""
    levels = writers.levels()
    return {
        "format": FORMAT,
        "model": {"name": model.name, "sha256": model.sha256},
        "unbraid": unbraid.__version__,
        "torch": torch.__version__,
        "device": str(separator.device),
        "settings": record_settings(separator, output),
        "input": {
            "name": info.name.strip("'"),
            "sample_rate": info.sample_rate,
            "channels": info.num_channels,
            "samples": finished.num_samples,
            "seconds": finished.num_samples / info.sample_rate,
            **({"start_seconds": info.start_sample / info.sample_rate} if info.start_sample else {}),
            "bytes": finished.source.bytes if finished.source else None,
            "modified_ns": finished.source.modified_ns if finished.source else None,
            "sha256": finished.source.sha256 if finished.source else None,
            **({"version": finished.source.version} if finished.source and finished.source.version else {}),
        },
        "stems": {
            stem: {
                "file": _relative(path, paths.folder),
                "peak": round(writers.peaks[stem] * writers.gain_of(stem), 6),
                **levels[stem],
                **({"gain": writers.own_gains[stem]} if stem in writers.own_gains else {}),
            }
            for stem, path in paths.stems.items()
        },
        **({"extras": _names(paths.extras, paths)} if paths.extras else {}),
        "gain": writers.gain,
        "uncertain_joins": finished.uncertain_joins,
        "heard_seconds": finished.heard_seconds,
        "seconds_taken": round(seconds_taken, 3),
        "model_seconds": round(finished.model_seconds, 3),
    }


@contextmanager
def replacing_record(paths: OutputPaths, record: Mapping[str, Any]) -> Iterator[PendingFile]:
    """The new record, to be given its name together with the stems.

    The earlier record is out of the way meanwhile, so that it never stands beside new stems that it does not describe,
    and comes back with the earlier stems if the new ones do not get their names.
    """
    pending = PendingFile(paths.record, follow_link=False)
    aside = pending.partial.with_name(f"{pending.partial.name}{BEFORE}")
    try:
        with writing_to(pending.name):
            pending.file.write(json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))
            with suppress(FileNotFoundError):
                os.replace(paths.record, aside)
        yield pending
    except BaseException:
        with suppress(OSError):
            os.replace(aside, paths.record)
        raise
    finally:
        pending.discard()
        with suppress(OSError):
            aside.unlink()


def is_done(
    paths: OutputPaths,
    model: ModelIdentity,
    separator: Separator,
    output: OutputConfig,
    source: os.PathLike[str],
    target: Url | None = None,
) -> bool:
    """Whether the stems of `source` are all there, below `target` if that is given, and were made by this model with
    these settings.

    A recording that is not the one that was read is not done: told by its size and its time (behind an address, the
    store's mark), and where that alone is another, by its hash.
    """
    try:
        record = read_json(paths.record) if target is None else parse_json(read_url((target / paths.record).text))
        settings = {FORMAT: record_settings, 1: _settings_of_format_1}[record["format"]](separator, output)
        return (
            record["model"]["sha256"] == model.sha256
            and record["settings"] == json.loads(json.dumps(settings))
            and {stem: entry["file"] for stem, entry in record["stems"].items()} == _names(paths.stems, paths)
            and all(_size(path, target) > 0 for path in paths.all_stems_and_extras)
            and _is_same(record["input"], source, paths)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AudioReadError):
        return False


def _size(path: Path, target: Url | None) -> int:
    return path.stat().st_size if target is None else facts_of((target / path).text).bytes


def _is_same(read: Mapping[str, Any], source: os.PathLike[str], paths: OutputPaths) -> bool:
    """Whether a recording is the one that was read."""
    if is_url(source):
        now = facts_of(os.fspath(source))
        return read["bytes"] == now.bytes and (
            read.get("version") == now.version or Source(source).facts().sha256 == read["sha256"]
        )
    stat = os.stat(source)
    if read["bytes"] != stat.st_size:
        return False
    if read.get("sha256") is None:  # a record of version 0.1.0
        return stat.st_mtime <= os.stat(paths.record).st_mtime
    return read["modified_ns"] == stat.st_mtime_ns or Source(source).facts().sha256 == read["sha256"]


def _names(files: Mapping[str, Path], paths: OutputPaths) -> dict[str, str]:
    return {name: _relative(path, paths.folder) for name, path in files.items()}


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")
