"""The fixed lists that come with the package."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def find_list(name: str) -> Path | None:
    """The file of a bundled list; None where there is none of that name."""
    path = FOLDER / f"{name}.csv"
    return path if path.is_file() else None


def bundled_lists() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.csv"))
