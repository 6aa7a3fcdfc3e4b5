"""`unbraid check-data`: looks a data set through before days of training are spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.messages import is_terminal, print_json
from unbraid.cli.options import AsJson, flag
from unbraid.errors import ConfigError

if TYPE_CHECKING:
    from unbraid.data.check.check import CheckEvent, Opened
    from unbraid.data.check.findings import Finding

_EXAMPLES = 4
"""So many of each kind are named; --all and --json name every one."""


def _list_layouts(wanted: bool) -> bool:
    if wanted:
        from rich.markup import escape

        from unbraid.cli.tables import make_console, make_table
        from unbraid.data.open import LAYOUTS

        table = make_table("layout", "what the folder looks like")
        for layout in LAYOUTS:
            table.add_row(layout.name, escape(layout.about))
            for option, meaning in layout.options.items():
                table.add_row(f"  {layout.name}:{option}", f"[dim]{escape(meaning)}[/dim]")
        make_console().print(table)
        raise typer.Exit
    return wanted


def check_data(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of the data set, or a list.", show_default=False)
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="NAME", help="Its layout, see --list; found out by itself if it is one of them.")
    ] = "auto",
    split: Annotated[
        list[str] | None, typer.Option(metavar="SPLIT", help="Only train, valid or test; repeat it for two.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Files at a time; by default one per core.")
    ] = None,
    all_: Annotated[bool, flag("--all", "Name every file, not only the first few of each kind.")] = False,
    json: AsJson = False,
    list_: Annotated[
        bool, flag("--list/-l", "List the known layouts and exit.", callback=_list_layouts, is_eager=True)
    ] = False,
) -> None:
    """Checks a data set: finds its layout, reads all of it, and says what is wrong and what to do about it.

    Looks for files that are damaged or cut short, clipping, silence, missing stems, unequal lengths and rates,
    mixtures that are not the sum of their sources, and recordings or speakers in two splits. Nothing is changed.
    The exit status is not 0 if there are errors; warnings are only told.

    [bold]Examples[/bold]

    unbraid check-data musdb18hq/
    unbraid check-data songs/ --split train --json
    unbraid check-data Libri2Mix/wav8k/min --layout librimix:noisy
    unbraid check-data --list
    """
    import os
    from typing import get_args

    from unbraid.data.check.check import Opened, check_data
    from unbraid.data.items import Split

    if folder is None:
        raise ConfigError("no folder is named: unbraid check-data DIR")
    for name in split or []:
        if name not in get_args(Split):
            raise ConfigError(f"there is no split '{name}'", remedy="choose train, valid or test")
    wanted: list[Split] | None = [name for name in get_args(Split) if name in split] if split else None
    events = check_data(folder, layout, wanted, jobs or os.cpu_count() or 1)
    opened: Opened | None = None
    findings: list[Finding] = []
    for event in _with_progress(events, quiet=json):
        if isinstance(event, Opened):
            opened = event
        else:
            findings.append(event)
    errors = [finding for finding in findings if finding.severity == "error"]
    if json:
        print_json(_to_json(folder, opened, findings))
    else:
        _print_report(folder, opened, findings, all_)
    if errors:
        raise typer.Exit(1)


def _with_progress(events: Iterator[CheckEvent], quiet: bool) -> Iterator[Opened | Finding]:
    """Draws how far it is, and hands on the rest."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from unbraid.data.check.check import Scanned

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[hours]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    shown = is_terminal() and not quiet
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bars:
        bar = bars.add_task("opening", total=None, hours="")
        for event in events:
            if isinstance(event, Scanned):
                hours = f"{event.done_seconds / 3600:.1f} of {event.total_seconds / 3600:.1f} h"
                bars.update(
                    bar,
                    description="listening",
                    completed=event.done_seconds,
                    total=event.total_seconds,
                    hours=hours,
                )
            else:
                yield event


def _print_report(folder: Path, opened: Opened | None, findings: list[Finding], every: bool) -> None:
    from rich.text import Text

    from unbraid.cli.tables import make_console, make_table
    from unbraid.data.check.findings import KINDS
    from unbraid.files.names import printable

    console = make_console()
    if opened is not None:
        console.print(f"{printable(folder)} is laid out as {opened.layout}", markup=False)
        table = make_table(
            "split", "items", "hours", "rate in Hz", "channels", "hours of each source", numbers_from=100
        )
        for split in opened.splits:
            sources = ", ".join(f"{name} {_hours(seconds)}" for name, seconds in split.source_seconds.items())
            if split.num_speakers:
                sources += f" ({split.num_speakers} speakers)"
            table.add_row(
                split.split,
                f"{split.num_items:,}",
                _hours(split.seconds),
                ", ".join(map(str, split.sample_rates)),
                ", ".join(map(str, split.num_channels)),
                sources,
            )
        console.print(table)
    for name, kind in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == name]
        if not of_kind:
            continue
        console.print(
            Text(
                f"{kind.severity}: {kind.title}: {len(of_kind)}",
                style="bold red" if kind.severity == "error" else "yellow",
            )
        )
        shown = of_kind if every else of_kind[:_EXAMPLES]
        for finding in shown:
            place = (
                finding.place if finding.split is None or name == "no-split" else f"{finding.split}: {finding.place}"
            )
            console.print(f"    {place}{': ' if finding.detail else ''}{finding.detail}", markup=False, soft_wrap=True)
        if len(of_kind) > len(shown):
            console.print(f"    and {len(of_kind) - len(shown)} more (--all names them)", style="dim")
        console.print(f"    what to do: {kind.advice}", markup=False, soft_wrap=True)
    console.print(_verdict(findings))


def _verdict(findings: list[Finding]) -> str:
    from unbraid.data.check.findings import KINDS

    kinds = {finding.kind for finding in findings}
    errors = sum(KINDS[kind].severity == "error" for kind in kinds)
    warnings = len(kinds) - errors
    if not kinds:
        return "nothing is wrong with it"
    parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning"))]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _to_json(folder: Path, opened: Opened | None, findings: list[Finding]) -> dict[str, object]:
    from dataclasses import asdict

    from unbraid.data.check.findings import KINDS
    from unbraid.files.names import printable

    return {
        "folder": printable(folder),
        "layout": opened.layout if opened else None,
        "ok": all(finding.severity != "error" for finding in findings),
        "splits": [asdict(split) for split in opened.splits] if opened else [],
        "findings": [
            {"severity": finding.severity, **asdict(finding), "advice": KINDS[finding.kind].advice}
            for finding in findings
        ],
    }
