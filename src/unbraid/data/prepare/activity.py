"""Writes a list of where each source sounds, to train on in place of the data set itself.

The list (see `data/layouts/csv_list.py`) has a row per segment for the training split, each segment a pool entry of its
own, and the items of the other splits whole, with their mixtures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator
from functools import partial
from pathlib import Path

from unbraid.data.items import Clip, Item, Split
from unbraid.data.open import open_splits
from unbraid.data.prepare.active_segments import ActivityRule, find_active
from unbraid.data.prepare.tasks import PrepareEvent, Task, Wrote, run_tasks
from unbraid.errors import DataError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending

COLUMNS: tuple[str, ...] = ("path", "stream", "split", "track", "stem", "start", "num_samples")

Rows = list[dict[str, str | int]]


def prepare_activity(
    root: Path, out: Path | None = None, layout: str = "auto", jobs: int = 1, rule: ActivityRule | None = None
) -> Generator[PrepareEvent, None, None]:
    """Finds the active segments of every source of the training split; writes the list when all are found.

    `out` None is `activity.csv` in the folder of the data. Paths in the list are relative to it where they can be. A
    source that cannot be read is a `Failed` and makes no list.
    """
    if root.is_file() and out is None:
        raise DataError(
            "is a list itself", subject=f"'{printable(root)}'", remedy="say with `out` where the new one goes"
        )
    target = out or root / "activity.csv"
    datasets = {dataset.split: dataset for dataset in open_splits(root, layout)}
    if "train" not in datasets:
        raise DataError("has no split 'train' to find active segments in", subject=f"'{printable(root)}'")
    if any(dataset.exchangeable for dataset in datasets.values()):
        raise DataError(
            "holds speakers: activity is for stems, and utterances are drawn whole", subject=f"'{printable(root)}'"
        )
    # Opened before the work, so that a folder that cannot be written to is not found out an hour later.
    pending = PendingFile(target)
    try:
        folder = pending.path.parent
        found: dict[str, Rows] = {}
        tasks = [
            Task(f"{item.name}/{source}", partial(_find, found, item, source, folder, rule))
            for item in datasets["train"].items
            for source, clips in item.sources.items()
            if clips
        ]
        yield from run_tasks(tasks, jobs)
        if len(found) < len(tasks):
            raise DataError(
                f"{len(tasks) - len(found)} sources cannot be read, so that no list is written", remedy="mend them"
            )
        rows = [row for task in tasks for row in found[task.name]]
        segments = len({row["track"] for row in rows})
        for split in ("valid", "test"):
            if split in datasets:
                for item in datasets[split].items:
                    rows += _whole_rows(item, split, folder)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_pending(pending, text.getvalue().encode())
    finally:
        pending.discard()
    yield Wrote(printable(target), f"{segments} segments of {len(tasks)} sources")


def _find(found: dict[str, Rows], item: Item, source: str, folder: Path, rule: ActivityRule | None) -> bool:
    rows: Rows = []
    clips = item.sources[source]
    for start, num_samples in find_active(clips, rule):
        track = f"{item.name}/{source}/{start / clips[0].sample_rate:.1f}"
        for clip in clips:
            # Tracks of one stem may end before it does.
            held = min(num_samples, clip.num_samples - start)
            if held > 0:
                rows.append(_row(clip, folder, "train", track, source, clip.start + start, held))
    found[f"{item.name}/{source}"] = rows
    return True


def _whole_rows(item: Item, split: Split, folder: Path) -> Rows:
    named = [(source, clip) for source, clips in item.sources.items() for clip in clips]
    if item.mixture is not None:
        named.append(("mixture", item.mixture))
    return [_row(clip, folder, split, item.name, stem, clip.start, clip.num_samples) for stem, clip in named]


def _row(
    clip: Clip, folder: Path, split: Split, track: str, stem: str, start: int, num_samples: int
) -> dict[str, str | int]:
    path = clip.path.absolute()
    place = path.relative_to(folder) if path.is_relative_to(folder) else path
    values = (place.as_posix(), clip.stream, split, track, stem, start, num_samples)
    return dict(zip(COLUMNS, values, strict=True))
