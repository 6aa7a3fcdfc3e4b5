"""`unbraid evaluate`: scores a model on a fixed list of mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from unbraid.evaluation.evaluate import Group, MixtureScore, Summary


def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled model's name, or a weights file.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the corpus, with speech/manifest.csv in it.")],
    mixtures: Annotated[
        str, typer.Option("--list", help="speech-test, speech-valid, or a CSV file like those.")
    ] = "speech-test",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many mixtures.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all scores to this file; '-' prints them and no table.")
    ] = None,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or mps.")] = "auto",
    whole: Annotated[
        bool,
        typer.Option(
            "--whole/--chunked", help="Each mixture in one call of the model, or in chunks as `separate` does it."
        ),
    ] = True,
) -> None:
    """Score a model of two speakers: SI-SDR before and after, with 95 % confidence intervals."""
    from math import isnan

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from unbraid.audio.pending import PendingFile, write_pending
    from unbraid.evaluation.evaluate import evaluate_list, open_list, summarise
    from unbraid.inference.separator import Separator

    separator = Separator(model, device=device)
    corpus, listed = open_list(mixtures, data)
    listed = listed[:limit]
    scores: list[MixtureScore] = []
    to_stdout = str(json_file) == "-"
    # Opened before the work, so that a folder that cannot be written to is not found out an hour later.
    pending = None if json_file is None or to_stdout else PendingFile(json_file)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[mean]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task(mixtures, total=len(listed), mean="")
            for score in evaluate_list(separator.model if whole else separator, corpus, listed):
                scores.append(score)
                known = [value for one in scores if not isnan(value := one.score.si_sdr_improvement_db)]
                mean = f"{sum(known) / len(known):+.2f} dB" if known else ""
                progress.update(bar, advance=1, mean=mean)
        summary = summarise(scores)
        text = _to_json(model, mixtures, whole, summary, scores)
        if pending is not None:
            write_pending(pending, f"{text}\n".encode())
    finally:
        if pending is not None:
            pending.discard()
    if to_stdout:
        typer.echo(text)
        return
    console = Console()
    console.print(summary_table(summary, f"{model} on {mixtures}"))
    speed = summary.model_seconds / summary.audio_seconds
    console.print(
        f"{len(scores)} mixtures, {summary.audio_seconds:.0f} s of audio in {summary.model_seconds:.0f} s "
        f"({speed:.2f} s per second); 95 %: confidence interval of the mean SI-SDRi over mixtures."
    )
    if summary.overall.undefined:
        console.print(f"{summary.overall.undefined} mixtures have a silent reference, so no score, and are left out.")


def summary_table(summary: Summary, title: str) -> Table:
    """One row for all mixtures and one for each kind; fits into 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, title_justify="left")
    table.add_column("SI-SDR in dB", no_wrap=True)
    for heading in ("n", "before", "after", "SI-SDRi", "95 %", "median", "SNR"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*_row("all", summary.overall))
    for kind, groups in summary.breakdowns.items():
        table.add_row(f"[dim]by {kind}[/dim]")
        for group in groups:
            table.add_row(*_row(f"  {group.name}", group))
    return table


def _row(name: str, group: Group) -> tuple[str, ...]:
    improvement = group.si_sdr_improvement
    return (
        name,
        str(group.count),
        f"{group.mixture_si_sdr.mean_db:.2f}",
        f"{group.si_sdr.mean_db:.2f}",
        f"{improvement.mean_db:+.2f}",
        f"{improvement.low_db:+.2f} to {improvement.high_db:+.2f}" if group.count > 1 else "",
        f"{improvement.median_db:+.2f}",
        f"{group.snr.mean_db:.2f}",
    )


def _to_json(model: str, mixtures: str, whole: bool, summary: Summary, scores: list[MixtureScore]) -> str:
    import json
    from dataclasses import asdict

    import torch

    import unbraid

    content = {
        "model": model,
        "list": mixtures,
        "whole": whole,
        "versions": {"unbraid": unbraid.__version__, "torch": torch.__version__},
        "summary": asdict(summary),
        "mixtures": [
            {
                **asdict(score.mixture),
                "model_seconds": round(score.model_seconds, 4),
                "si_sdr_db": score.score.si_sdr_db,
                "si_sdr_improvement_db": score.score.si_sdr_improvement_db,
                "sources": [
                    {**asdict(source), "si_sdr_improvement_db": source.si_sdr_improvement_db}
                    for source in score.score.sources
                ],
            }
            for score in scores
        ],
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False)


def _finite(value: object) -> object:
    """JSON has neither nan nor infinity; both become null."""
    from math import isfinite

    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
