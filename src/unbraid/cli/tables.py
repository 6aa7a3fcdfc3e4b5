"""Tables on stdout, drawn with rich; imported inside commands, because rich takes a while."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unbraid.files.names import escape_controls


class _SafeConsole(Console):
    """Shows names of files and tracks as they are, except for what would steer the terminal."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str("\n".join(escape_controls(line) for line in text.split("\n")), **settings)


def make_console() -> Console:
    """For text on stdout; what goes to a file or a program is not squeezed into the width of a terminal."""
    return _SafeConsole(highlight=False, width=None if sys.stdout.isatty() else 160)


def make_table(*headings: str, title: str | None = None, numbers_from: int = 100) -> Table:
    """An open table; the columns from `numbers_from` on are flush right."""
    table = Table(
        box=None, padding=(0, 2), title=title, title_justify="left", header_style="bold", show_header=bool(headings)
    )
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index >= numbers_from else "left", no_wrap=index >= numbers_from)
    return table
