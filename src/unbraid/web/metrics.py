"""What the server has done and does, as Prometheus reads it."""

from __future__ import annotations

import shutil
from typing import get_args

from unbraid.web.queue import SeparationQueue
from unbraid.web.store import State


def metrics_text(queue: SeparationQueue) -> str:
    """One line for each figure, each with its meaning."""
    totals = queue.totals
    lines = _figure("recordings", "gauge", "Recordings that the server knows, by state.")
    lines += [f'unbraid_recordings{{state="{state}"}} {queue.store.count(state)}' for state in get_args(State)]
    for name, kind, meaning, value in (
        ("uploads", "gauge", "Uploads that are under way.", queue.uploading),
        ("workers", "gauge", "Workers, one for each device.", len(queue.devices)),
        ("stored_bytes", "gauge", "Recordings and results on the disk.", queue.store.total_bytes()),
        ("free_bytes", "gauge", "Left on that disk.", shutil.disk_usage(queue.config.folder).free),
        ("done_total", "counter", "Recordings separated since the start.", totals.done),
        ("failed_total", "counter", "Recordings that failed since the start.", totals.failed),
        ("cancelled_total", "counter", "Recordings cancelled since the start.", totals.cancelled),
        ("audio_seconds_total", "counter", "Audio separated since the start.", round(totals.audio_seconds, 3)),
        ("busy_seconds_total", "counter", "Time that this took.", round(totals.wall_seconds, 3)),
    ):
        lines += [*_figure(name, kind, meaning), f"unbraid_{name} {value}"]
    return "\n".join(lines) + "\n"


def _figure(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP unbraid_{name} {meaning}", f"# TYPE unbraid_{name} {kind}"]
