"""Scores estimates of many tracks, one or several at a time, and tells as it goes.

    for event in evaluate(ModelEstimates("speech"), open_list("speech-test", "corpus"), find_measures("si-sdri")):
        ...

Every track is scored in constant memory except by measures that say otherwise. An error in one never stops the others.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from unbraid.errors import ConfigError, UnbraidError
from unbraid.evaluation.estimates import EstimateSource, FolderEstimates, ModelEstimates
from unbraid.evaluation.material import BLOCK_SECONDS, FRAME_SECONDS, PASSAGE_SECONDS, Material
from unbraid.evaluation.measures import MEASURES, Measure, check_packages
from unbraid.evaluation.protocols import Protocol
from unbraid.evaluation.scores import Scores, TargetScore, TrackScore
from unbraid.evaluation.scoring import find_order
from unbraid.evaluation.tracks import Track, TrackList, check_names, level_band
from unbraid.metrics.energies import Energies, EnergyMeter
from unbraid.metrics.pairs import ratio_db
from unbraid.separation.process import release_freed_memory, tune_process

_WORTH_SECONDS = 600.0
"""ours: from so much audio on, processes save more time than they take to start."""


@dataclass(frozen=True, kw_only=True)
class TrackScored:
    """One track is done."""

    index: int
    """Place in the list, from 0; with several processes tracks do not come in order."""
    score: TrackScore


@dataclass(frozen=True, kw_only=True)
class TrackFailed:
    """One track could not be scored; the others go on."""

    index: int
    name: str
    message: str
    """One sentence."""
    is_defect: bool
    """Whether it is a defect of ours rather than the user's to mend."""


EvaluationEvent = TrackScored | TrackFailed


def evaluate(
    estimates: EstimateSource,
    tracks: TrackList,
    measures: Sequence[Measure],
    *,
    jobs: int = 1,
    done: Collection[str] = (),
) -> Generator[EvaluationEvent, None, None]:
    """Scores every track but those named in `done`. Closing the generator stops at once.

    jobs: processes; each loads the model anew and takes its share of the threads. A script that asks for several does
    its work under `if __name__ == "__main__":`, since each of them reads it.
    """
    check_names(tracks.tracks)
    check_packages(measures)
    sources = estimates.sources(tracks)
    todo = [(index, track) for index, track in enumerate(tracks.tracks) if track.name not in done]
    if isinstance(estimates, FolderEstimates):
        todo = [(index, track) for index, track in todo if track.name in estimates.clips]
    jobs = min(jobs, len(todo))
    task = _Task(estimates, sources, tuple(measure.name for measure in measures), tracks.exchangeable)
    if jobs <= 1:
        for index, track in todo:
            yield task(index, track)
        return
    if isinstance(estimates, ModelEstimates) and not estimates.can_be_sent:
        raise ConfigError("a model in memory stays in its process", remedy="give its name or its file, or jobs=1")
    with _pool(task, jobs) as pool:
        waiting: dict[Future[EvaluationEvent], tuple[int, Track]] = {
            pool.submit(_run_task, index, track): (index, track) for index, track in todo
        }
        for future in as_completed(waiting):
            index, track = waiting[future]
            try:
                yield future.result()
            except BrokenProcessPool as error:
                raise ConfigError(
                    f"a process ended while it scored tracks, '{track.name}' perhaps, as it does when memory runs out",
                    remedy=f"use fewer than {jobs} jobs",
                ) from error


def score_track(
    estimates: EstimateSource, track: Track, sources: Sequence[str], measures: Sequence[Measure], *, exchangeable: bool
) -> TrackScore:
    """All measures of one track, whose sources are those of `sources` that it has."""
    own = tuple(source for source in sources if track.knows(source))
    with estimates.open(track, own) as estimated:
        frame_samples = round(FRAME_SECONDS * track.sample_rate)
        meter = EnergyMeter(frame_samples, exchangeable=exchangeable)
        size = round(BLOCK_SECONDS / FRAME_SECONDS) * frame_samples
        for start in range(0, track.num_samples, size):
            count = min(size, track.num_samples - start)
            if start:
                release_freed_memory()
            meter.push(
                torch.from_numpy(estimated.read(start, count)),
                torch.from_numpy(track.read_references(own, start, count)),
                torch.from_numpy(track.read_mixture(start, count)),
            )
        energies = meter.finish()
        order = find_order(energies, exchangeable=exchangeable)
        material = Material(track=track, sources=own, order=order, energies=energies, estimated=estimated)
        measured = {measure.name: measure.measure(material) for measure in measures}
        frames: dict[str, np.ndarray] = {}
        for name, one in measured.items():
            for kind, values in one.frames.items():
                # Of two protocols with one name in museval, the first has the name.
                frames.setdefault(kind if kind not in frames else f"{name} {kind}", values)
        targets = tuple(
            TargetScore(
                source=source,
                estimate=estimated.names[order[index]],
                metrics={name: float(one.values[index]) for name, one in measured.items()},
                frames={name: values[index].tolist() for name, values in frames.items()},
            )
            for index, source in enumerate(own)
        )
        return TrackScore(
            name=track.name,
            seconds=track.seconds,
            labels=_labels(track, energies, exchangeable),
            targets=targets,
            model_seconds=estimated.model_seconds,
            most_error_at=FRAME_SECONDS * energies.most_error_at(order, round(PASSAGE_SECONDS / FRAME_SECONDS)),
            notes=estimated.notes,
        )


def _labels(track: Track, energies: Energies, exchangeable: bool) -> dict[str, str]:
    """What the track is labelled with, and of two speakers how far they are apart in level."""
    labels = dict(track.labels)
    powers = energies.reference_power.sum(dim=(1, 2))
    if exchangeable and len(powers) == 2 and bool(powers.all()):
        labels.setdefault("level", level_band(float(ratio_db(powers[0], powers[1]))))
    return labels


@dataclass(frozen=True)
class _Task:
    """Scores any track of one evaluation, here or in another process."""

    estimates: EstimateSource
    sources: tuple[str, ...]
    measures: tuple[str, ...]
    exchangeable: bool

    def __call__(self, index: int, track: Track) -> EvaluationEvent:
        measures = [MEASURES[name] for name in self.measures]
        try:
            score = score_track(self.estimates, track, self.sources, measures, exchangeable=self.exchangeable)
            return TrackScored(index=index, score=score)
        except Exception as error:
            is_defect = not isinstance(error, UnbraidError | OSError)
            reason = f"because of a defect of unbraid ({type(error).__name__}: {error})" if is_defect else f"({error})"
            message = f"'{track.name}' could not be scored {reason}"
            return TrackFailed(index=index, name=track.name, message=message, is_defect=is_defect)


_task: _Task | None = None
"""In a process of the pool: what it does."""


def _start_worker(task: _Task, threads: int) -> None:
    global _task
    # Ctrl-C reaches the whole group; the process that was asked decides what becomes of the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_process()
    torch.set_num_threads(threads)
    _task = task


def _run_task(index: int, track: Track) -> EvaluationEvent:
    assert _task is not None
    return _task(index, track)


@contextmanager
def _pool(task: _Task, jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, even in the middle of a track."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(task, max(1, torch.get_num_threads() // jobs)),
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def collect_scores(
    estimates: EstimateSource,
    tracks: TrackList,
    measures: Sequence[Measure],
    scored: Iterable[TrackScore] = (),
    protocol: Protocol | None = None,
) -> Scores:
    """What was evaluated together with how it came out, in the order of the list: what files, summaries and
    comparisons are made of."""
    by_name = {track.name: track for track in scored}
    return Scores(
        estimates=estimates.facts(),
        data={
            "name": tracks.name,
            "layout": tracks.layout,
            "sources": tracks.sources,
            "exchangeable": tracks.exchangeable,
        },
        metrics=tuple(measure.name for measure in measures),
        protocol=protocol.facts() if protocol else {},
        tracks=tuple(by_name[track.name] for track in tracks.tracks if track.name in by_name),
    )


def choose_jobs(wanted: int, estimates: EstimateSource, tracks: TrackList) -> int:
    """Processes to score in; 0 takes one for a model, which uses all cores itself, and for files one per core.

    Processes take seconds to start, so that some minutes of audio are scored sooner without.
    """
    if wanted < 0:
        raise ConfigError(f"there are no {wanted} jobs", remedy="give 0 or more")
    if wanted:
        return wanted
    seconds = sum(track.seconds for track in tracks.tracks)
    return (os.cpu_count() or 1) if isinstance(estimates, FolderEstimates) and seconds > _WORTH_SECONDS else 1
