"""Stems and record behind an address: made in a temporary folder, then uploaded, the record last."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from unbraid.errors import AudioWriteError
from unbraid.files.names import printable
from unbraid.files.remote import Url, put_files, remove_url
from unbraid.output.config import OutputConfig
from unbraid.output.export import Exported, export
from unbraid.output.naming import OutputPaths
from unbraid.output.record import ModelIdentity
from unbraid.separation.events import Event
from unbraid.separation.separator import Separator


def export_to_url(
    separator: Separator,
    source: os.PathLike[str],
    paths: OutputPaths,
    target: Url,
    output: OutputConfig,
    model: ModelIdentity,
) -> Generator[Event | Exported, None, None]:
    """As `export`, with `paths` below `target`.

    A store has no renaming of many files at once. The earlier record is taken away first and the new one comes last, so
    that stems without a record are those that are not whole.
    """
    if any((target / path).text == os.fspath(source) for path in paths.all_stems_and_extras):
        raise AudioWriteError(
            f"a stem of '{printable(source)}' would overwrite it", remedy="choose another `out` or `filename`"
        )
    with tempfile.TemporaryDirectory(prefix="unbraid-") as folder:
        local = paths.below(Path(folder))
        with closing(export(separator, source, local, output, model)) as events:
            for event in events:
                if isinstance(event, Exported):
                    remove_url(target / paths.record)
                    made = zip(local.all_stems_and_extras, paths.all_stems_and_extras, strict=True)
                    put_files((there, target / path) for there, path in made)
                    put_files([(local.record, target / paths.record)])
                    event = replace(event, paths=paths)
                yield event
