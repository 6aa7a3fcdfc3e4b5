"""`unbraid profile`: what a model costs per second of audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.messages import make_console, print_json
from unbraid.cli.options import DEVICE_HELP, AsJson, flag

if TYPE_CHECKING:
    from unbraid.evaluation.profile import Profile

_DEPTH = 4
"""Levels of modules that the table shows; --json has them all."""


def profile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Preset, bundled model, or .safetensors file.")],
    seconds: Annotated[
        float, typer.Option(metavar="SEC", help="Length of the chunk that is given to the model.")
    ] = 4.0,
    device: Annotated[str, typer.Option("--device", "-d", metavar="DEVICE", help=DEVICE_HELP)] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processor threads; by default what torch takes.", show_default=False),
    ] = None,
    modules: Annotated[bool, flag("--modules", "Show a table of the model's parts.")] = False,
    json: AsJson = False,
) -> None:
    """Measures parameters, MACs, processor time and memory per second of audio.

    All figures are per second of audio at the model's own rate and channels.
    MACs are those of convolutions, linear layers, matrix products and
    attention; FFTs and elementwise work are not counted.

    [bold]Examples[/bold]

    unbraid profile s4m-tiny
        a preset, with random weights
    unbraid profile speech --modules
        a bundled model, and where its work is done
    unbraid profile s4m --seconds 10 --threads 1 --json
        for a script
    """
    from unbraid.evaluation.profile import profile as measure

    measured = measure(model, seconds=seconds, device=device, threads=threads)
    if json:
        print_json(as_data(measured, modules=modules))
    else:
        _print_text(measured, modules=modules)


def as_data(measured: Profile, *, modules: bool) -> dict[str, object]:
    from dataclasses import asdict

    data = asdict(measured)
    if not modules:
        del data["modules"]
    return data


def _print_text(measured: Profile, *, modules: bool) -> None:
    from rich.table import Table

    console = make_console()
    memory = measured.peak_memory_bytes
    channels = "mono" if measured.num_channels == 1 else f"{measured.num_channels} channels"
    console.print(
        f"{measured.name}: {measured.seconds:g} s of {channels} at {measured.sample_rate} Hz "
        f"on {measured.device}, {measured.threads} threads"
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(justify="right")
    facts.add_column()
    facts.add_row("parameters", f"{measured.parameters:,}", "")
    facts.add_row("MACs", f"{measured.macs_per_second / 1e9:.3f} G", "per second of audio, FFTs not counted")
    facts.add_row("processor time", f"{measured.cpu_seconds_per_second:.3f} s", "per second of audio, all threads")
    facts.add_row("wall time", f"{measured.wall_seconds_per_second:.3f} s", "per second of audio")
    if memory is not None:
        facts.add_row("peak memory", f"{memory / 2**20:.0f} MiB", "weights and one such chunk")
    console.print(facts)
    if not modules:
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    table.add_column("module", no_wrap=True)
    table.add_column("type", no_wrap=True)
    for heading in ("parameters", "M MACs/s", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in measured.modules:
        level = row.name.count(".") + 1 if row.name else 0
        if level <= _DEPTH and (row.parameters or row.macs_per_second):
            name = "  " * level + (row.name.rpartition(".")[2] or measured.name)
            macs = f"{row.macs_per_second / 1e6:,.1f}"
            table.add_row(name, row.kind, f"{row.parameters:,}", macs, f"{100 * row.share:.1f} %")
    console.print(table)
