"""A Ray cluster on this machine: the same files as here, also when a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.output.engines.test_processes import noise_jobs, stems_below, tiny  # noqa: F401
from unbraid.errors import MissingExtraError
from unbraid.output.batch import run_jobs
from unbraid.output.config import OutputConfig
from unbraid.output.engines.config import EngineConfig
from unbraid.output.engines.dispatch import Task
from unbraid.output.engines.ray_actors import RayCrew, _how_many
from unbraid.output.engines.run import run_on
from unbraid.output.jobs import RecordingDone, RecordingFailed, RecordingSkipped, RecordingStarted
from unbraid.output.record import ModelIdentity
from unbraid.separation.config import SeparationConfig
from unbraid.separation.separator import Separator


def test_as_many_workers_as_there_is_room_for():
    assert _how_many({"CPU": 16.0, "GPU": 2.0}, 1.0, 1.0) == 2
    assert _how_many({"CPU": 16.0, "GPU": 2.0}, 0.25, 1.0) == 8
    assert _how_many({"CPU": 16.0, "GPU": 2.0}, 0.0, 4.0) == 4
    assert _how_many({"CPU": 1.0}, 0.0, 4.0) == 1


def test_without_ray_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    task = Task(model="tiny", identity=ModelIdentity("tiny", "0"), config=SeparationConfig(), output=OutputConfig())
    with pytest.raises(MissingExtraError, match=r"pip install 'unbraid\[ray\]'"):
        RayCrew(task, EngineConfig(engine="ray"))


@pytest.mark.ray
def test_the_files_are_those_of_this_process_although_a_worker_is_killed(tiny, tmp_path, monkeypatch):  # noqa: F811
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'unbraid[ray]'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Else they get what other programs of this machine leave over.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    identity = ModelIdentity.of(tiny)
    config = SeparationConfig(segment_seconds=0.5)
    separator = Separator(tiny, device="cpu", config=config)
    list(run_jobs(noise_jobs(tmp_path, 6, "here", seconds=1.0), separator, identity))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        task = Task(model=str(tiny), identity=identity, config=config, output=OutputConfig())
        engine = EngineConfig(engine="ray", workers=2)
        jobs = noise_jobs(tmp_path, 6, "there", seconds=1.0)
        killed, done = [], []
        for event in run_on(jobs, separator, task, engine):
            if isinstance(event, RecordingStarted) and not killed:
                killed = [pid for pid in _actors() if pid != os.getpid()][:1]
                os.kill(killed[0], signal.SIGKILL)
            assert not isinstance(event, RecordingFailed), event
            done += [event.index] if isinstance(event, RecordingDone) else []
        assert killed
        assert sorted(done) == list(range(6))
        assert stems_below(tmp_path / "there") == stems_below(tmp_path / "here")
        assert len(stems_below(tmp_path / "there")) == 12
        for path in (tmp_path / "there").rglob("*.json"):
            record = json.loads(path.read_text())
            here = json.loads((tmp_path / "here" / path.relative_to(tmp_path / "there")).read_text())
            for one in (record, here):
                del one["seconds_taken"], one["model_seconds"], one["input"]["modified_ns"]
            assert record == here
        # What is there is skipped by whoever looks.
        again = list(run_jobs(jobs, separator, identity, resume=True))
        assert [type(event) for event in again] == [RecordingSkipped] * 6
    finally:
        ray.shutdown()


def _actors() -> list[int]:
    """Processes that have the model, by what Ray calls them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::Separating") and _is_ours(int(entry.name)):
                found.append(int(entry.name))
    return found


def _is_ours(pid: int) -> bool:
    """Whether a process comes of this one: others may run Ray as well."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return False
