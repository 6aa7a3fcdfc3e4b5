"""What `unbraid evaluate` does with what it was told: opens, scores, keeps what is done, and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from unbraid.cli.messages import complain
from unbraid.cli.tables import make_console, make_table
from unbraid.data.items import Split
from unbraid.data.open import find_layout
from unbraid.errors import ConfigError, DataError
from unbraid.evaluation.estimates import EstimateSource, FolderEstimates, ModelEstimates
from unbraid.evaluation.evaluate import TrackFailed, TrackScored, choose_jobs, collect_scores, evaluate
from unbraid.evaluation.journal import Journal, identity
from unbraid.evaluation.measures import MEASURES, Measure, check_packages
from unbraid.evaluation.protocols import Column, Protocol, columns_of, find_protocol
from unbraid.evaluation.report.reports import write_score_report
from unbraid.evaluation.scores import Scores, TrackScore
from unbraid.evaluation.statistics import Interval
from unbraid.evaluation.summary import LIMIT_DB, Group, Summary, summarise, summary_data
from unbraid.evaluation.tracks import LIST_SPLITS, TrackList, open_list, open_tracks
from unbraid.files.pending import PendingFile
from unbraid.weights.store import bundled_models, inspect_model

_TRACK = "track"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation that has come to its end."""

    scores: Scores
    summary: Summary
    num_failed: int
    num_left_out: int
    """Tracks without estimates."""
    journal: Journal | None

    def finish(self) -> None:
        """The file of scores is whole, and from now on what --resume continues."""
        if self.journal is not None:
            self.journal.remove()


def open_data(
    estimates: str, root: Path, mixtures: str | None, split: Split | Literal["all"] | None, layout: str
) -> TrackList:
    """A fixed list where one is named, or where DATA is the corpus, which holds no mixtures of its own."""
    if mixtures is None and split is None and layout == "auto" and find_layout(root)[0].name == "corpus":
        mixtures = _list_for(estimates)
    return open_tracks(root, split, layout) if mixtures is None else open_list(mixtures, root)


def _list_for(estimates: str) -> str:
    """What a model was trained by has a list of its own name, or it gives the sources of one."""
    if not _is_folder(estimates):
        stored = inspect_model(estimates)
        own = f"{stored.facts.get('recipe')}-test"
        if own in LIST_SPLITS:
            return own
        if "dialogue" in stored.spec.sources:
            return "cinematic-test"
    return "speech-test"


def _is_folder(estimates: str) -> bool:
    """Bundled names go before folders of that name."""
    return Path(estimates).is_dir() and estimates not in bundled_models()


def check_labels(tracks: TrackList, by: Sequence[str] | None) -> None:
    """Raises ConfigError for a label that no track has, before there are scores that could not be shown."""
    known = dict.fromkeys(label for track in tracks.tracks for label in track.labels)
    if tracks.exchangeable and len(tracks.sources) == 2:
        known["level"] = None
    for label in by or ():
        if label not in known and label != _TRACK:
            raise ConfigError(f"no track has the label '{label}'", remedy=f"choose from {', '.join([*known, _TRACK])}")


def open_estimates(
    name: str,
    tracks: TrackList,
    *,
    device: str,
    whole: bool | None,
    settings: Mapping[str, Any],
    skip_missing: bool,
    protocol: Protocol | None = None,
) -> EstimateSource:
    """A bundled model, else a folder of estimates where there is one of that name, else a weights file."""
    if _is_folder(name):
        if whole is not None or settings:
            raise ConfigError("is a folder of estimates: settings of models do not go with it", subject=name)
        return FolderEstimates(Path(name), tracks, skip_missing=skip_missing)
    # A mistake in the settings is found out here, not after the first track.
    if protocol is not None:
        whole, settings = protocol.whole, protocol.settings
    stored_bits = protocol.stored_bits if protocol is not None else None
    source = ModelEstimates(name, device=device, whole=whole, settings=settings, stored_bits=stored_bits)
    source.separator  # noqa: B018
    return source


def run_evaluation(
    source: EstimateSource,
    tracks: TrackList,
    measures: Sequence[Measure],
    *,
    jobs: int,
    by: Sequence[str] | None,
    scores_path: Path | None,
    resume: bool,
    protocol: Protocol | None = None,
) -> Run:
    """Scores all tracks, shows how it goes on stderr, and keeps every finished track beside `scores_path`."""
    # What cannot go well leaves no file behind.
    source.sources(tracks)
    check_packages(measures)
    facts = identity(collect_scores(source, tracks, measures, protocol=protocol))
    journal = None if scores_path is None else Journal(scores_path, facts)
    done: dict[str, TrackScore] = {}
    if journal is not None and resume:
        wanted = {track.name for track in tracks.tracks}
        done = {track.name: track for track in journal.resume() if track.name in wanted}
        if done:
            complain(f"{len(done)} of {len(tracks.tracks)} tracks are done already", kind="")
    elif journal is not None:
        journal.begin()
    left_out = 0
    if isinstance(source, FolderEstimates):
        left_out = len(tracks.tracks) - len(source.clips)
        if left_out:
            complain(f"{left_out} of {len(tracks.tracks)} tracks have no complete estimates and are skipped", "warning")
    headliner = measures[0]
    failed = 0
    with _Display(tracks, done, headliner) as display:
        try:
            jobs = choose_jobs(jobs, source, tracks)
            for event in evaluate(source, tracks, measures, jobs=jobs, done=frozenset(done)):
                match event:
                    case TrackScored():
                        done[event.score.name] = event.score
                        if journal is not None:
                            journal.append(event.score)
                        display.advance(event.score)
                    case TrackFailed():
                        failed += 1
                        complain(event.message)
        except KeyboardInterrupt as error:
            kept = "nothing is kept; with --json an evaluation can be resumed"
            if journal is not None:
                kept = f"{len(done)} of {len(tracks.tracks)} tracks are kept: continue with --resume"
            raise KeyboardInterrupt(kept) from error
    if not done:
        raise DataError(f"no track of {tracks.name} could be scored")
    scores = collect_scores(source, tracks, measures, done.values(), protocol)
    shown = None if by is None else [label for label in by if label != _TRACK]
    summary = summarise(scores, by=shown)
    scores = replace(scores, summary=summary_data(summary))
    return Run(scores=scores, summary=summary, num_failed=failed, num_left_out=left_out, journal=journal)


def draw_report(file: PendingFile, run: Run, source: EstimateSource, tracks: TrackList) -> None:
    """The page of --html; says how far it is."""
    with Console(stderr=True).status("drawing the report") as status:
        for event in write_score_report(file, run.scores, run.summary, source, tracks):
            status.update(f"drawing the report: {event.index + 1} of {event.count} tracks")


def print_summary(run: Run, measures: Sequence[Measure], *, by: Sequence[str] | None) -> None:
    """All tracks, every source, every kind; and each track, where that is asked for. Under a protocol, its columns."""
    scores, summary = run.scores, run.summary
    console = make_console()
    for column in columns_of(scores.protocol) or [_column(measure) for measure in measures]:
        measure = MEASURES[column.measure]
        unit = f" in {measure.unit}" if measure.unit else ""
        how = f", protocol {scores.protocol['name']}" if scores.protocol else ""
        title = escape(f"{column.name}{unit}: {scores.name} on {scores.data['name']}{how}")
        table = make_table("", "n", column.over_tracks, "95 %", _other(column), title=title, numbers_from=1)
        if scores.protocol and summary.sources:
            table.add_row(*_row("average", summary.overall, column, of_sources=True))
        table.add_row(*_row("all", summary.overall, column))
        for group in summary.sources:
            table.add_row(*_row(f"  {group.name}", group, column))
        for label, groups in summary.breakdowns.items():
            table.add_row(f"[dim]by {escape(label)}[/dim]")
            for group in groups:
                table.add_row(*_row(f"  {group.name}", group, column))
        if by and _TRACK in by:
            table.add_row("[dim]by track[/dim]")
            for track in scores.tracks:
                table.add_row(f"  {escape(track.name)}", "", _number(track.value(measure.name), measure))
        console.print(table)
        console.print()
    _print_remarks(console, run)


def _print_remarks(console: Console, run: Run) -> None:
    scores, summary = run.scores, run.summary
    if scores.protocol:
        protocol = find_protocol(scores.protocol["name"])
        for sentence in protocol.sentences(from_folder=scores.estimates["kind"] == "folder"):
            console.print(sentence, soft_wrap=True, markup=False)
    elif beyond := _num_beyond(scores):
        console.print(f"{beyond} scores lie beyond ±{LIMIT_DB:g} dB and count as that here; the file has them.")
    count = len(scores.tracks)
    text = f"{count} {'track' if count == 1 else 'tracks'}, {summary.audio_seconds:.0f} s of audio"
    if summary.model_seconds:
        speed = summary.model_seconds / summary.audio_seconds
        text += f" separated in {summary.model_seconds:.0f} s ({speed:.2f} s per second)"
    console.print(f"{text}; 95 %: bootstrap confidence interval over tracks.", soft_wrap=True, markup=False)
    if summary.overall.undefined:
        verb = "has" if summary.overall.undefined == 1 else "have"
        console.print(f"{summary.overall.undefined} of them {verb} a silent reference, so no score, and are skipped.")
    for note in sorted({note for track in scores.tracks for note in track.notes}):
        affected = sum(note in track.notes for track in scores.tracks)
        console.print(f"estimates of {affected} tracks were {note}", soft_wrap=True, markup=False)


def _row(name: str, group: Group, column: Column, *, of_sources: bool = False) -> tuple[str, ...]:
    """`of_sources`: the mean of the sources' figures, each over tracks."""
    measure, statistic = MEASURES[column.measure], group.measures[column.measure]
    figures: dict[str, Interval] = {
        "mean": statistic.mean,
        "median": statistic.source_medians if of_sources else statistic.median,
    }
    first, other = figures[column.over_tracks], figures[_other(column)]
    interval = "" if isnan(first.low) else f"{_number(first.low, measure)} to {_number(first.high, measure)}"
    return (
        escape(name),
        str(statistic.count),
        _number(first.value, measure),
        interval,
        _number(other.value, measure),
    )


def _column(measure: Measure) -> Column:
    return Column(name=measure.name, measure=measure.name, over_tracks=measure.over_tracks)


def _other(column: Column) -> str:
    return "median" if column.over_tracks == "mean" else "mean"


def _number(value: float, measure: Measure) -> str:
    """Two digits, three where a scale ends at 1; improvements with their sign."""
    if isnan(value):
        return "–"
    digits = 2 if measure.unit else 3
    return f"{value:+.{digits}f}" if measure.name.endswith("i") else f"{value:.{digits}f}"


def _num_beyond(scores: Scores) -> int:
    values = [value for track in scores.tracks for target in track.targets for value in target.metrics.values()]
    return sum(abs(value) > LIMIT_DB for value in values)


class _Display:
    """A bar on stderr: tracks, the mean so far, time left by seconds of audio."""

    def __init__(self, tracks: TrackList, done: Mapping[str, TrackScore], measure: Measure) -> None:
        self.measure = measure
        self.values = [track.value(measure.name) for track in done.values()]
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[done]}/{task.fields[count]}"),
            TextColumn("{task.fields[mean]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar: TaskID = self.bars.add_task(
            tracks.name,
            total=sum(track.seconds for track in tracks.tracks),
            done=len(done),
            count=len(tracks.tracks),
            mean="",
        )
        self.bars.update(self.bar, completed=sum(track.seconds for track in done.values()))

    def advance(self, track: TrackScore) -> None:
        self.values.append(track.value(self.measure.name))
        known = [value for value in self.values if not isnan(value)]
        mean = f"{self.measure.name} {_number(sum(known) / len(known), self.measure)}" if known else ""
        self.bars.update(self.bar, advance=track.seconds, done=len(self.values), mean=mean)

    def __enter__(self) -> _Display:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()
