"""docs/formats.md says of every format what happens when it is tried."""

from __future__ import annotations

import re
from itertools import chain

import pytest
from benchmarks.engine.formats import PAGE, reading, writing


def without_padding(row: str) -> str:
    """Which samples of a lossy codec are no sound is told by some versions of FFmpeg and not by others."""
    return re.sub(r"(?<=lossy), \+\d+ samples", "", row)


@pytest.mark.parametrize("table", [reading, writing])
def test_the_page_says_what_comes_out(table):
    said = [without_padding(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    # An encoder may be missing in another build; what is made is read alike everywhere.
    rows = [row for row in table() if not any(cell == "–" for cell in row.cells)]
    assert rows
    assert [str(row) for row in rows if without_padding(str(row)) not in said] == []


def test_nothing_that_is_made_is_scrambled():
    cells = chain.from_iterable(row.cells for row in writing())
    assert not [cell for cell in cells if "order" in cell or "channels at" in cell]
