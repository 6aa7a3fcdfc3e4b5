"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def flag(name: str, help: str, panel: str | None = None, **settings: Any) -> Any:
    """An option that is there or not; without the empty metavar the help would ask for a <bool>."""
    return typer.Option(*name.split("/"), help=help, metavar="", rich_help_panel=panel, **settings)


AsJson = Annotated[bool, flag("--json", "Print data as JSON instead of text.")]

DEVICE_HELP = "auto, cpu, cuda, cuda:N or mps."
