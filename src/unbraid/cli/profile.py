"""`unbraid profile`: what a model costs per second of audio."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unbraid.cli.messages import print_json
from unbraid.cli.options import DEVICE_HELP, AsJson, flag

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
    from dataclasses import asdict

    from unbraid.inspection.profile import profile as measure

    data = asdict(measure(model, seconds=seconds, device=device, threads=threads))
    if not modules:
        del data["modules"]
    if json:
        print_json(data)
    else:
        _print_text(data)


def _print_text(data: dict[str, Any]) -> None:
    from unbraid.cli.tables import make_console, make_table

    console = make_console()
    channels = "mono" if data["num_channels"] == 1 else f"{data['num_channels']} channels"
    threads = "one thread" if data["threads"] == 1 else f"{data['threads']} threads"
    chunk = f"{data['seconds']:g} s of {channels} at {data['sample_rate']} Hz"
    console.print(f"{data['name']}: {chunk} on {data['device']}, {threads}", markup=False)
    per_second = "per second of audio"
    facts = make_table()
    facts.add_row("parameters", f"{data['parameters']:,}", "")
    facts.add_row("MACs", f"{data['macs_per_second'] / 1e9:.3f} G", f"{per_second}; FFTs are not counted")
    facts.add_row("processor time", f"{data['cpu_seconds_per_second']:.3f} s", f"{per_second}, all threads together")
    facts.add_row("wall time", f"{data['wall_seconds_per_second']:.3f} s", per_second)
    if data["peak_memory_bytes"] is not None:
        facts.add_row("peak memory", f"{data['peak_memory_bytes'] / 2**20:.0f} MiB", "weights and one such chunk")
    console.print(facts)
    if "modules" not in data:
        return
    table = make_table("module", "type", "parameters", "M MACs/s", "share", numbers_from=2)
    for row in data["modules"]:
        level = row["name"].count(".") + 1 if row["name"] else 0
        if level <= _DEPTH and (row["parameters"] or row["macs_per_second"]):
            name = "  " * level + (row["name"].rpartition(".")[2] or data["name"])
            macs = f"{row['macs_per_second'] / 1e6:,.1f}"
            table.add_row(name, row["kind"], f"{row['parameters']:,}", macs, f"{100 * row['share']:.1f} %")
    console.print(table)
