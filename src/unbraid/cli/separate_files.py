"""Runs a batch for `unbraid separate`: shows it, remarks on it, and collects what became of each recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from unbraid.audio.discovery import Discovery
from unbraid.cli.messages import LogLevel, emit
from unbraid.cli.progress import JsonReport, PlainReport, make_report
from unbraid.cli.settings import as_options
from unbraid.errors import UnbraidError
from unbraid.files.names import printable
from unbraid.files.remote import Url
from unbraid.output.config import OutputConfig
from unbraid.output.engines.config import EngineConfig
from unbraid.output.engines.dispatch import Task
from unbraid.output.engines.run import run_on
from unbraid.output.jobs import (
    Job,
    RecordingDone,
    RecordingFailed,
    RecordingProgress,
    RecordingSkipped,
    RecordingStarted,
    plan_jobs,
    shard,
)
from unbraid.output.naming import safe_name
from unbraid.output.record import ModelIdentity
from unbraid.output.remarks import remark_on_rate, remarks_on
from unbraid.separation.separator import Separator

Result = dict[str, object]


def separate_files(
    found: Discovery,
    separator: Separator,
    model_source: str,
    out: Path | Url,
    output: OutputConfig,
    *,
    part: tuple[int, int],
    resume: bool,
    engine: EngineConfig | None = None,
    level: LogLevel = "info",
    as_json: bool = False,
) -> list[Result]:
    """Separates what was found and returns one result per recording, with what was not found among the failed."""
    model = ModelIdentity.of(model_source)
    stems = output.choose(separator.stem_plan.names)
    jobs = plan_jobs(found.files, out, stems, model=model.name, output=output, passage=separator.config.passage_name)
    jobs = shard(jobs, *part)
    task = Task(model=model_source, identity=model, config=separator.given_config, output=output, resume=resume)
    results: list[Result] = []
    became: dict[int, Result] = {}
    """Of the jobs, which may end in another order."""
    remarks = _Remarks(separator, model.name)
    try:
        with make_report(len(jobs), level, as_json=as_json) as report:
            report.detail(_how(separator, model.name))
            for error in found.errors:
                report.say(str(error), kind="error")
                results.append(failed(error))
            # Closed at once after Ctrl-C here: whoever waits for the collector leaves threads and half-written files.
            with closing(run_on(jobs, separator, task, engine or EngineConfig())) as events:
                for event in events:
                    match event:
                        case RecordingStarted():
                            report.start(event.index, event.job.name, event.started.expected_seconds)
                            report.detail(_what(event))
                        case RecordingProgress():
                            report.advance(event.index, event.progress)
                        case RecordingDone():
                            became[event.index] = _result(event.job, "done", event.exported.record)
                            report.finish(event.index, _done(event), became[event.index])
                        case RecordingSkipped():
                            became[event.index] = _result(event.job, "skipped")
                            text = f"{event.job.name}: skipped, its stems are in {_place(event.job)}"
                            report.finish(event.index, text, became[event.index])
                        case RecordingFailed():
                            if event.is_defect or report.level == "debug":
                                _show_traceback(event.error, report)
                            became[event.index] = {
                                "input": event.job.name,
                                "status": "failed",
                                "message": as_options(event.message),
                            }
                            report.fail(event.index, event.message, became[event.index])
                    for remark in remarks.on(event):
                        report.warn(remark)
            results += [became[index] for index in sorted(became)]
            _sum_up(report, results, out if "model" in output.template.fields else out / safe_name(model.name), part)
    except KeyboardInterrupt:
        done = sum(result["status"] != "failed" for result in became.values())
        raise KeyboardInterrupt(
            f"{done} of {len(jobs)} recordings are done and nothing half-written is left behind; "
            "add --resume to go on with the others"
        ) from None
    return results


def failed(error: UnbraidError) -> Result:
    """What becomes of a recording that is not there, or that no model is for."""
    return {"input": None, "status": "failed", "message": as_options(str(error))}


class _Remarks:
    """What users should know although it is no error."""

    def __init__(self, separator: Separator, model: str) -> None:
        self._rate, self._model, self._said_rate = separator.spec.sample_rate, model, False
        self._num_sources = separator.spec.num_sources
        self._on_models = list(separator.remarks)

    def on(self, event: object) -> Iterator[str]:
        while self._on_models:
            yield self._on_models.pop()
        if isinstance(event, RecordingStarted) and not self._said_rate:
            remark = remark_on_rate(self._model, self._rate, event.started.sample_rate)
            if remark:
                self._said_rate = True
                yield remark
        if isinstance(event, RecordingDone):
            yield from remarks_on(event.exported, event.job.name, self._num_sources)


def _done(event: RecordingDone) -> str:
    exported = event.exported
    speed = exported.audio_seconds / max(exported.seconds_taken, 1e-9)
    turned_down = "" if exported.gain == 1 else f", all stems turned down to {exported.gain:.3f} so that none clips"
    return (
        f"{event.job.name}: {exported.audio_seconds:.1f} s in {event.seconds:.1f} s ({speed:.1f}x real time)"
        f"{turned_down}, in {_place(event.job)}"
    )


def _place(job: Job) -> str:
    return job.place(job.paths.folder)


def _result(job: Job, status: str, record: dict[str, object] | None = None) -> Result:
    stems = {stem: job.place(path) for stem, path in job.paths.stems.items()}
    result: Result = {"input": job.name, "status": status, "stems": stems, "record": job.place(job.paths.record)}
    if job.paths.extras:
        result["extras"] = {name: job.place(path) for name, path in job.paths.extras.items()}
    if record is not None:
        result |= {key: record[key] for key in ("gain", "uncertain_joins", "heard_seconds", "seconds_taken")}
        result["seconds"] = record["input"]["seconds"]  # type: ignore[index]
    return result


def _how(separator: Separator, model: str) -> str:
    import torch

    spec, plan = separator.spec, separator.plan
    seconds = "whole recordings" if plan.is_whole else f"chunks of {plan.chunk / spec.sample_rate:.2f} s"
    shared = "" if plan.is_whole else f" that share {plan.overlap / spec.sample_rate:.2f} s"
    changed = ", ".join(f"{name}={value}" for name, value in separator.config.changed().items()) or "none but defaults"
    return (
        f"'{model}' on {separator.device}, {torch.get_num_threads()} threads: {', '.join(spec.sources)} at "
        f"{spec.sample_rate} Hz in {seconds}{shared}; settings: {changed}"
    )


def _what(event: RecordingStarted) -> str:
    started = event.started
    length = "unknown length" if started.expected_seconds is None else f"{started.expected_seconds:.2f} s"
    return f"{event.job.name}: {started.sample_rate} Hz, {started.num_channels} channels, {length}"


def _show_traceback(error: Exception, report: PlainReport) -> None:
    import sys
    import traceback

    if isinstance(report, JsonReport):
        emit("traceback", text="".join(traceback.format_exception(error)))
    else:
        traceback.print_exception(error, file=sys.stderr)


def _sum_up(report: PlainReport, results: list[Result], place: Path | Url, part: tuple[int, int]) -> None:
    count = {status: sum(result["status"] == status for result in results) for status in ("done", "skipped", "failed")}
    if not results:
        report.end(f"shard {part[0]}/{part[1]} is empty: there are fewer recordings than shards", count)
        return
    extras = [f"{count[status]} {status}" for status in ("skipped", "failed") if count[status]]
    text = f"{count['done']} of {len(results)} recordings separated"
    text += f" ({', '.join(extras)})" if extras else ""
    kept = count["done"] + count["skipped"]
    report.end(f"{text}; the stems are in {printable(place)}" if kept else text, count)
