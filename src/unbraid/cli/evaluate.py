"""`unbraid evaluate`: scores a model, or another tool's estimates, against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from unbraid.cli.messages import complain
from unbraid.cli.options import DEVICE_HELP, flag
from unbraid.errors import ConfigError

_DATA, _OUT, _HOW, _RUN = "What is scored", "What is written", "How a model is run", "How it runs"


def _list_metrics(wanted: bool) -> bool:
    """Prints what can be measured and ends."""
    if not wanted:
        return wanted
    from unbraid.cli.tables import make_console, make_table
    from unbraid.evaluation.measures import MEASURES

    table = make_table("metric", "unit", "over tracks", "what it is")
    for measure in MEASURES.values():
        table.add_row(measure.name, measure.unit, measure.over_tracks, measure.meaning)
    make_console().print(table)
    raise typer.Exit


def evaluate(
    estimates: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|FOLDER",
            help="A bundled model, a weights file, or a folder of estimates: FOLDER/TRACK/SOURCE.wav and the like.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Data set with references, or a corpus for --list.", show_default=False),
    ] = None,
    data_option: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The same as DATA.", rich_help_panel=_DATA)
    ] = None,
    mixtures: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="LIST",
            help="Fixed mixtures of the corpus: speech-test, speech-noisy-test, cinematic-test, the same with -valid, "
            "or a CSV file; by default those that MODEL was made for.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    split: Annotated[
        Literal["train", "valid", "test", "all"] | None,
        typer.Option(
            help="Part of the data set; by default test, or all where it has no parts.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(metavar="NAME", help="Layout of the data set, if it is not recognised.", rich_help_panel=_DATA),
    ] = "auto",
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the first N tracks.", show_default=False, rich_help_panel=_DATA),
    ] = None,
    skip_missing: Annotated[
        bool, flag("--skip-missing", "Skip tracks whose estimates are not all in FOLDER.", _DATA)
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Separated by commas; by default those that papers on this task report.",
            show_default=False,
            rich_help_panel=_OUT,
        ),
    ] = None,
    protocol_name: Annotated[
        Literal["sfc-musdb", "sfc-dnr", "bytesep", "museval", "wsj0", "librimix", "lrs2"] | None,
        typer.Option(
            "--protocol",
            help="Score as papers on such data do: fixes metrics, averages, chunks, joining, rounding, and says so.",
            show_default=False,
            rich_help_panel=_OUT,
        ),
    ] = None,
    list_metrics: Annotated[
        bool, flag("--list-metrics", "List metrics and exit.", _OUT, callback=_list_metrics, is_eager=True)
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="LABEL",
            help="Break down by this label, or by 'track'; repeat it for more. By default by all that form groups.",
            show_default=False,
            rich_help_panel=_OUT,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="All scores; - prints them and no table.",
            show_default=False,
            rich_help_panel=_OUT,
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="A line per track and source.", show_default=False, rich_help_panel=_OUT
        ),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="One page with scores, charts, and the best and worst tracks to hear.",
            show_default=False,
            rich_help_panel=_OUT,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help=DEVICE_HELP, rich_help_panel=_HOW)
    ] = "auto",
    whole: Annotated[
        bool | None,
        typer.Option(
            "--whole/--chunked",
            help="Each track in one call of the model, or in chunks as `separate` does it; by default the former for "
            "mixtures of speakers up to a minute.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    segment: Annotated[
        float | None,
        typer.Option(metavar="SEC", help="As in `separate`.", show_default=False, rich_help_panel=_HOW),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="As in `separate`.", show_default=False, rich_help_panel=_HOW),
    ] = None,
    join: Annotated[
        Literal["fade", "average", "centre"] | None,
        typer.Option(
            help="As in `separate`; average is how papers join chunks.", show_default=False, rich_help_panel=_HOW
        ),
    ] = None,
    shifts: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="As in `separate`.", show_default=False, rich_help_panel=_HOW),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            metavar="N",
            help="Tracks at a time; 0 takes one for a model, and for a large folder one per core.",
            rich_help_panel=_RUN,
        ),
    ] = 0,
    resume: Annotated[bool, flag("--resume", "Continue an interrupted evaluation; needs --json.", _RUN)] = False,
) -> None:
    """Scores a model, or what another tool has separated, against references.

    Prints means and medians over tracks with 95 % confidence intervals, for
    all tracks and for each kind.

    [bold]Examples[/bold]

    unbraid evaluate speech corpus --list speech-test --json scores.json
        a fixed list of mixtures of two speakers
    unbraid evaluate cinematic corpus --metrics SNR,SNRi
        dialogue, music and effects, on the list of that model
    unbraid evaluate music.safetensors musdb18hq --metrics cSDR,uSDR
        songs with their stems
    unbraid evaluate separated/htdemucs musdb18hq --json demucs.json
        the estimates of another tool, by the same protocol
    unbraid evaluate speech corpus --json scores.json --resume
        continue after an interruption
    unbraid evaluate runs/sfc/average.safetensors musdb18hq --protocol sfc-musdb
        the figures of a paper, by its protocol
    unbraid compare scores.json demucs.json
        which is better, and how sure that is
    """
    if data is not None and data_option is not None:
        raise ConfigError("the data are named twice", remedy="give DATA or --data DATA")
    root = data or data_option
    if root is None:
        raise ConfigError(
            "no data are named", remedy="give a folder with references, as in  unbraid evaluate speech DATA"
        )
    to_stdout = str(json_file) == "-"
    if resume and (json_file is None or to_stdout):
        raise ConfigError("--resume continues the file of --json", remedy="name it")
    settings = {"segment_seconds": segment, "overlap": overlap, "join": join, "shifts": shifts}
    chosen = {name: value for name, value in settings.items() if value is not None}
    if protocol_name is not None:
        given = {
            "--metrics": metrics,
            "--whole": whole,
            **{f"--{name}": value for name, value in chosen.items()},
        }
        for name, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"the protocol {protocol_name} fixes what {name.removesuffix('_seconds')} sets",
                    remedy="leave one out",
                )

    from unbraid.cli.evaluate_run import (
        check_labels,
        draw_report,
        open_data,
        open_estimates,
        print_summary,
        run_evaluation,
    )
    from unbraid.evaluation.measures import default_measures, find_measures
    from unbraid.evaluation.protocols import find_protocol
    from unbraid.evaluation.scores import scores_csv, scores_json
    from unbraid.files.pending import PendingFile, write_pending

    protocol = None if protocol_name is None else find_protocol(protocol_name)
    wanted = protocol.measures if protocol else None if metrics is None else find_measures(metrics)
    tracks = open_data(estimates, root, mixtures, split, layout).first(limit)
    check_labels(tracks, by)
    if protocol is not None:
        protocol.check(tracks)
        if doubt := protocol.doubt(tracks):
            complain(doubt, "warning")
    source = open_estimates(
        estimates,
        tracks,
        device=device,
        whole=whole,
        settings=chosen,
        skip_missing=skip_missing,
        protocol=protocol,
    )
    measures = wanted or default_measures(source.sources(tracks), exchangeable=tracks.exchangeable)
    # Opened before the work, so that a folder that cannot be written to is not found out an hour later.
    files = {"json": None if to_stdout else json_file, "csv": csv_file, "html": html_file}
    pending = {kind: PendingFile(path) for kind, path in files.items() if path is not None}
    try:
        run = run_evaluation(
            source,
            tracks,
            measures,
            jobs=jobs,
            by=by,
            scores_path=files["json"],
            resume=resume,
            protocol=protocol,
        )
        texts = {"json": scores_json(run.scores), "csv": scores_csv(run.scores)}
        for kind in pending.keys() & texts.keys():
            write_pending(pending[kind], f"{texts[kind].rstrip()}\n".encode())
        run.finish()
        if html_file is not None:
            draw_report(pending["html"], run, source, tracks)
    finally:
        for file in pending.values():
            file.discard()
    if to_stdout:
        typer.echo(texts["json"])
    else:
        print_summary(run, measures, by=by)
    if run.num_failed:
        raise typer.Exit(1)
