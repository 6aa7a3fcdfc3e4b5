"""Pictures and the arrays behind them as files, all of them or none."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unbraid.files.pending import PendingFile, commit_all, writing_to


def write_together(
    pictures: Mapping[str, bytes], arrays: Mapping[str, np.ndarray], folder: Path, *, name: str = "attention.npz"
) -> list[Path]:
    """Writes pictures by name and the arrays under `name`; all files get their names together, or none does."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    contents = {**pictures, name: packed.getvalue()}
    pending: list[PendingFile] = []
    try:
        for file_name, content in contents.items():
            pending.append(PendingFile(folder / file_name))
            with writing_to(pending[-1].name):
                pending[-1].file.write(content)
        commit_all(pending)
    finally:
        for file in pending:
            file.discard()
    return [folder / file_name for file_name in contents]
