"""`unbraid compare`: which of two evaluations is better, and how sure that is."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.messages import complain, print_json
from unbraid.cli.options import AsJson, flag
from unbraid.options import check_option

if TYPE_CHECKING:
    from unbraid.evaluation.compare import Comparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="Scores that `unbraid evaluate --json` wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Scores of the same tracks.")],
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="By default the first that both have.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="DB",
            help="Exit with 1 if B is worse than A by more than this on average; if negative, unless B is better.",
            show_default=False,
        ),
    ] = None,
    intersection: Annotated[
        bool, flag("--intersection", "Compare what is in both where the tracks are not the same.")
    ] = False,
    most: Annotated[int, typer.Option(min=0, metavar="N", help="Tracks to list that have changed most.")] = 5,
    json: AsJson = False,
) -> None:
    """Compares two evaluations track by track: B minus A.

    Differences come with a 95 % bootstrap confidence interval and the p values
    of a sign-flip test and of the paired t-test that papers report, over tracks.

    [bold]Examples[/bold]

    unbraid compare before.json after.json
        has it become better?
    unbraid compare main.json branch.json --metric SI-SDRi --threshold 0.2
        in a pipeline: fails if more than 0.2 dB are lost
    """
    from unbraid.evaluation.compare import compare as pair
    from unbraid.evaluation.compare import comparison_data
    from unbraid.evaluation.scores import read_scores

    if threshold is not None:
        check_option("--threshold", threshold, float)
    result = pair(read_scores(first), read_scores(second), metric, intersection=intersection)
    short = threshold is not None and result.falls_short(threshold)
    if any(result.left_out):
        complain(
            f"compared are the {result.overall.count + result.undefined} tracks in both; {result.left_out[0]} are only "
            f"in {first} and {result.left_out[1]} only in {second}",
            kind="warning",
        )
    if result.protocols[0] != result.protocols[1]:
        how = [f"the protocol {name}" if name else "no protocol" for name in result.protocols]
        complain(f"A was scored by {how[0]} and B by {how[1]}: part of the difference is theirs", kind="warning")
    if json:
        gate = None if threshold is None else {"threshold": threshold, "passed": not short}
        print_json({**comparison_data(result), "gate": gate})
    else:
        _print(result, str(first), str(second), most)
    if threshold is not None and short:
        wanted = f"is worse than A by more than {threshold:g}" if threshold >= 0 else f"is not better by {-threshold:g}"
        complain(
            f"B {wanted}: {result.measure} has changed by {result.overall.mean.value:+.3f} from {first} to {second}"
        )
        raise typer.Exit(1)


def _print(result: Comparison, first: str, second: str, most: int) -> None:
    from rich.markup import escape

    from unbraid.cli.tables import make_console, make_table
    from unbraid.evaluation.measures import MEASURES

    console = make_console()
    unit = MEASURES[result.measure].unit
    title = escape(f"{result.measure}{f' in {unit}' if unit else ''} on {result.data}: A {first}, B {second}")
    table = make_table(
        "", "n", "A", "B", "B - A", "95 %", "median", "p", "t-test p", "better", "worse", title=title, numbers_from=1
    )
    for row in (result.overall, *result.sources):
        table.add_row(
            escape(row.name),
            str(row.count),
            f"{row.first:.2f}",
            f"{row.second:.2f}",
            f"{row.mean.value:+.3f}",
            f"{row.mean.low:+.3f} to {row.mean.high:+.3f}" if row.count > 1 else "",
            f"{row.median.value:+.3f}",
            _probability(row.p),
            _probability(row.t_test_p),
            str(row.better),
            str(row.worse),
        )
    console.print(table)
    if result.undefined:
        console.print(f"{result.undefined} tracks have no score in one of the files and are skipped.")
    if not result.higher_is_better:
        console.print(f"Less {result.measure} is better.", markup=False)
    # Sorted from the greatest loss to the greatest gain.
    sign = 1 if result.higher_is_better else -1
    losses = [one for one in result.changes if sign * one.difference < 0][:most]
    gains = [one for one in reversed(result.changes) if sign * one.difference > 0][:most]
    for name, changes in (("lost", losses), ("gained", gains)):
        if not changes:
            continue
        table = make_table("track", "A", "B", "B - A", title=f"\nthe tracks that have {name} most", numbers_from=1)
        for one in changes:
            table.add_row(escape(one.track), f"{one.first:.2f}", f"{one.second:.2f}", f"{one.difference:+.2f}")
        console.print(table)


def _probability(p: float) -> str:
    return "" if isnan(p) else f"{p:.4f}" if p >= 0.0001 else "<0.0001"
