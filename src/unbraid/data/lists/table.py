"""Rows of a fixed list, whose cells are checked as they are asked for."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unbraid.errors import DataError
from unbraid.files.names import printable


class ListRow:
    """One row; whatever is wrong with it is a DataError that names the list, the line and the column."""

    def __init__(self, path: Path, line: int, cells: Mapping[str, str | None]) -> None:
        self._path, self._line, self._cells = path, line, cells

    def has(self, column: str) -> bool:
        """Whether anything stands there; the column itself may be missing."""
        return bool(self._cells.get(column))

    def text(self, column: str) -> str:
        cell = self._cells.get(column)
        if cell is None:
            raise self._refusal(f"has no '{column}'")
        return cell

    def number(self, column: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number from `least` to `most`."""
        cell = self.text(column)
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not least <= number <= most:
            raise self._refusal(f"has '{cell[:40]}' as its {column}")
        return number

    def count(self, column: str, most: int) -> int:
        """A whole number from 1 to `most`."""
        cell = self.text(column)
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 12 and 1 <= int(cell) <= most):
            raise self._refusal(f"has '{cell[:40]}' as its {column}")
        return int(cell)

    def _refusal(self, what: str) -> DataError:
        return DataError(
            f"is not a list of mixtures: line {self._line} {printable(what)}",
            subject=f"'{printable(self._path)}'",
            remedy="compare it with the lists that come with unbraid",
        )


@contextmanager
def _open(path: Path) -> Iterator[csv.DictReader[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot be read: {error}", subject=f"'{printable(path)}'", remedy="give a CSV file in UTF-8"
        ) from error


def read_columns(path: Path) -> tuple[str, ...]:
    """What the heading names."""
    with _open(path) as rows:
        return tuple(rows.fieldnames or ())


def read_list_rows(path: Path) -> Iterator[ListRow]:
    with _open(path) as rows:
        for row in rows:
            yield ListRow(path, rows.line_num, row)
