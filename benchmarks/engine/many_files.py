"""Many short files: what they cost beside the model, what 20 kills leave behind, and what a second Ray worker brings.

python -m benchmarks.engine.many_files overhead --files 1000     seconds beside those of the model, wall and processor
python -m benchmarks.engine.many_files kills --kills 20          kill -9 at random moments, then --resume
python -m benchmarks.engine.many_files ray                       one and two workers on a cluster of this machine
python -m benchmarks.engine.many_files plan --files 100000       memory and time until the first recording begins
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import soundfile

from benchmarks.machine import describe

MODEL, RATE = "speech", 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "kills", "ray", "plan"))
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    print(describe())
    if options.what == "plan":
        plan(options.files)
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        recordings(place / "in", options.files, options.seconds)
        if options.what == "overhead":
            for lanes in options.lanes:
                overhead(place, options, lanes)
        elif options.what == "kills":
            kills(place, options)
        else:
            for workers in (1, 2):
                ray(place, options, workers)


def recordings(folder: Path, count: int, seconds: float) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        samples = 0.1 * rng.standard_normal(round(seconds * RATE))
        soundfile.write(folder / f"{number:05d}.wav", samples, RATE, "PCM_16")


def overhead(place: Path, options: argparse.Namespace, lanes: int) -> None:
    """In this process, whose model is warm: what a million files cost, not what a start costs."""
    from unbraid.separation.process import tune_process

    tune_process()  # as the command line does
    from unbraid.audio.discovery import discover_audio
    from unbraid.output.batch import run_jobs
    from unbraid.output.jobs import RecordingDone, plan_jobs
    from unbraid.output.record import ModelIdentity
    from unbraid.separation.inference import runner
    from unbraid.separation.separator import Separator

    refining = list[float]()
    refine = runner.wiener_refine

    def timed(*arguments: Any) -> Any:
        since = time.thread_time()
        refined = refine(*arguments)
        refining.append(time.thread_time() - since)
        return refined

    runner.wiener_refine = timed
    separator, identity = Separator(MODEL, device="cpu"), ModelIdentity.of(MODEL)
    stems = separator.stem_plan.names
    files = discover_audio([place / "in"]).files
    list(run_jobs(plan_jobs(files[:2], place / "warm", stems, model=MODEL), separator, identity))
    jobs = plan_jobs(files, place / f"out{lanes}", stems, model=MODEL)
    model = 0.0
    refining.clear()
    began, busy, own = time.perf_counter(), cpu_seconds(), time.thread_time()
    for event in run_jobs(jobs, separator, identity, lanes=lanes):
        if isinstance(event, RecordingDone):
            model += event.exported.record["model_seconds"]
    wall, busy, own = time.perf_counter() - began, cpu_seconds() - busy, time.thread_time() - own
    runner.wiener_refine = refine
    hours = len(files) * options.seconds / 3600
    asked, rest = sum(refining), busy - own - sum(refining)
    print(
        f"{len(files)} files of {options.seconds:g} s, {lanes} in work: {wall:.1f} s, of which the model had "
        f"{model:.1f} s ({100 * (wall - model) / model:+.1f} %); processor {busy:.1f} s, of which the model's thread "
        f"{own:.1f} s; refining, which is part of the result, is {100 * asked / own:.1f} % of that "
        f"({1000 * asked / len(files):.1f} ms a file), all else {100 * rest / own:.1f} % "
        f"({1000 * rest / len(files):.1f} ms a file); {busy / hours / 3600:.3f} processor hours per hour"
    )


def kills(place: Path, options: argparse.Namespace) -> None:
    """A process of its own, over and over; what it says of each file is counted."""
    out = place / "out"
    command = [sys.executable, "-m", "unbraid", "separate", "-n", MODEL, "-d", "cpu", "-j", "1", str(place / "in")]
    command += ["-o", str(out), "--resume", "--progress", "json"]
    rng, done, twice = random.Random(0), dict[int, int](), 0
    for kill in range(options.kills + 1):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        # The last run goes to its end; the others have begun for a while, and are killed at any moment of it.
        left = None if kill == options.kills else rng.randint(1, 3)
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "done":
                done[event["index"]] = done.get(event["index"], 0) + 1
                if left is not None:
                    left -= 1
                    if left <= 0:
                        time.sleep(rng.uniform(0, 0.3))
                        os.kill(process.pid, signal.SIGKILL)
                        break
            elif event["event"] == "end":
                break
        process.wait()
        twice = sum(count - 1 for count in done.values())
    partial = len(list(out.rglob("*.partial*")))
    whole = len(list(out.rglob("*.unbraid.json")))
    print(
        f"{options.kills} kills: {whole} of {options.files} recordings are whole, {partial} partial files are left, "
        f"{twice} were said to be done twice"
    )


def ray(place: Path, options: argparse.Namespace, workers: int) -> None:
    """Whole files by the command line's way, timed from the first recording that begins to the last that is done."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    from unbraid.audio.discovery import discover_audio
    from unbraid.output.config import OutputConfig
    from unbraid.output.engines.config import EngineConfig
    from unbraid.output.engines.dispatch import Task
    from unbraid.output.engines.run import run_on
    from unbraid.output.jobs import RecordingDone, RecordingStarted, plan_jobs
    from unbraid.output.record import ModelIdentity
    from unbraid.separation.separator import Separator

    separator, identity = Separator(MODEL, device="cpu"), ModelIdentity.of(MODEL)
    jobs = plan_jobs(
        discover_audio([place / "in"]).files, place / f"ray{workers}", separator.stem_plan.names, model=MODEL
    )
    task = Task(model=MODEL, identity=identity, config=separator.config, output=OutputConfig())
    began, model = None, 0.0
    for event in run_on(jobs, separator, task, EngineConfig(engine="ray", workers=workers)):
        if isinstance(event, RecordingStarted) and began is None:
            began = time.perf_counter()
        if isinstance(event, RecordingDone):
            model += event.exported.record["model_seconds"]
    assert began is not None
    wall = time.perf_counter() - began
    print(f"{workers} Ray workers: {len(jobs)} files in {wall:.1f} s ({len(jobs) / wall:.2f} a second)")


def plan(count: int) -> None:
    """Names alone: no file is there."""

    from unbraid.audio.discovery import AudioFile
    from unbraid.output.jobs import plan_jobs

    tracemalloc.start()
    began = time.process_time()
    files = (AudioFile(Path(f"/data/{n // 1000}/{n}.wav"), PurePath(f"{n // 1000}/{n}.wav")) for n in range(count))
    jobs = plan_jobs(files, Path("/out"), ("speaker1", "speaker2"), model=MODEL)
    seconds = time.process_time() - began
    held = tracemalloc.get_traced_memory()[1]
    print(f"{len(jobs)} recordings planned in {seconds:.1f} s of processor time, {held / count / 1000:.1f} kB each")


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
