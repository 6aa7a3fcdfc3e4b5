"""Packs what a training run needs of a data set into few megabytes, to carry to a rented machine.

A copy of the tree in which every recording of the splits train and valid is Opus, in the channels that the model takes,
at the bit rate that fits; what has fewer bits already is copied as it is. Manifests keep the rows of what is packed.
Scores on such a copy choose between weights, and are not those of the data set itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np

from unbraid.audio.rate import resample
from unbraid.data.clips import clips_of, read_source
from unbraid.data.items import Clip
from unbraid.data.layouts.layout import NoSplitError
from unbraid.data.open import open_dataset
from unbraid.data.prepare.tasks import PrepareEvent, Task, Wrote, run_tasks
from unbraid.errors import ConfigError, DataError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending, writing_to
from unbraid.options import PositiveFloat, check_option

_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_LEAST_KBPS, _MOST_KBPS = 8.0, 64.0
"""ours: per channel. Below, voices are no longer what they were; above, nothing is gained."""

_LEVEL_KBPS = (256.0, 6.0)
"""What libsndfile's compression levels 0 and 1 are, per channel."""

_FILE_BYTES = 600
"""Headers of one small file."""

_SPARE = 0.9
"""ours: bit rates vary with the sound."""


def prepare_pack(
    root: Path,
    out: Path,
    *,
    layout: str = "auto",
    sample_rate: int = 16_000,
    num_channels: int = 1,
    megabytes: float = 40.0,
    jobs: int = 1,
) -> Generator[PrepareEvent, None, None]:
    """Packs the recordings of a data set into at most about `megabytes` below `out`; what is there already is left."""
    check_option("megabytes", megabytes, PositiveFloat)
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            "is inside the data set itself", subject=f"'{printable(out)}'", remedy="name a folder beside it"
        )
    rate = next((one for one in _OPUS_RATES if one >= sample_rate), _OPUS_RATES[-1])
    clips: dict[Path, Clip] = {}
    for split in ("train", "valid"):
        try:
            clips |= {clip.path: clip for clip in clips_of(open_dataset(root, split, layout))}
        except NoSplitError:
            continue
    seconds = sum(clip.seconds * min(clip.num_channels, num_channels) for clip in clips.values())
    room = megabytes * 1e6 * _SPARE - _FILE_BYTES * len(clips)
    kbps = min(_MOST_KBPS, room * 8 / 1000 / max(seconds, 1e-9))
    if kbps < _LEAST_KBPS:
        needed = (_LEAST_KBPS * 125 * seconds + _FILE_BYTES * len(clips)) / _SPARE / 1e6
        raise ConfigError(
            f"{seconds / 3600:.1f} hours of sound do not fit into {megabytes:g} MB",
            remedy=f"allow {needed:.0f} MB or choose a smaller part by `layout`",
        )
    tasks = []
    for path, clip in sorted(clips.items()):
        relative = path.relative_to(root)
        make = partial(_pack, clip, out / relative.with_suffix(".opus"), rate, num_channels, kbps)
        tasks.append(Task(printable(relative), make))
    yield from run_tasks(tasks, jobs)
    packed = {path.relative_to(root) for path in clips if (out / path.relative_to(root)).with_suffix(".opus").is_file()}
    for manifest in sorted(root.rglob("manifest.csv")):
        _write_manifest(manifest, root, out, packed)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    yield Wrote(printable(out), f"{len(packed)} recordings, {size / 1e6:.1f} MB at {kbps:.0f} kbit/s,")


def _pack(clip: Clip, target: Path, rate: int, num_channels: int, kbps: float) -> bool:
    if target.is_file():
        return False
    stored = clip.path.stat().st_size
    if clip.path.suffix.lower() == ".opus" and stored * 8 <= 1000 * kbps * clip.seconds * clip.num_channels:
        write_pending(PendingFile(target), clip.path.read_bytes())
        return True
    channels = min(clip.num_channels, num_channels)
    samples = resample(read_source((clip,), 0, clip.num_samples, clip.sample_rate, channels), clip.sample_rate, rate)
    write_pending(PendingFile(target), _encode(samples, rate, kbps))
    return True


def _encode(samples: np.ndarray, rate: int, kbps: float) -> bytes:
    import soundfile

    loosest, tightest = _LEVEL_KBPS
    file = io.BytesIO()
    with writing_to("the pack"):
        soundfile.write(
            file,
            samples.T,
            rate,
            format="OGG",
            subtype="OPUS",
            compression_level=(loosest - kbps) / (loosest - tightest),
        )
    return file.getvalue()


def _write_manifest(manifest: Path, root: Path, out: Path, packed: set[Path]) -> None:
    """The rows of recordings that are packed, with their new names; none where there are no such rows."""
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or [])
    folder = manifest.parent.relative_to(root)
    kept = [row for row in rows if folder / (row.get("path") or "") in packed]
    if not kept:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "path": Path(row["path"]).with_suffix(".opus").as_posix()} for row in kept)
    write_pending(PendingFile(out / folder / "manifest.csv"), text.getvalue().encode())
