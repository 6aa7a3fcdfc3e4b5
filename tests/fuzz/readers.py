"""Every reader of bytes from anybody, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import audio_files, data_sets, hub, model_files, text_files, web
from tests.fuzz.target import Builders, Target

BUILDERS: Builders = (
    audio_files.BUILDERS | model_files.BUILDERS | text_files.BUILDERS | data_sets.BUILDERS | hub.BUILDERS | web.BUILDERS
)


def build_target(name: str, folder: Path) -> Target:
    """In a folder of its own; all requests to the web share one."""
    own = folder / ("web" if name in web.BUILDERS else name.replace(" ", "-"))
    own.mkdir(exist_ok=True)
    return BUILDERS[name](own)


def build_targets(folder: Path) -> Iterator[tuple[str, Target]]:
    for name in BUILDERS:
        yield name, build_target(name, folder)
